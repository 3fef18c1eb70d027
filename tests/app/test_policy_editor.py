"""Promotions: what a promotion needs."""

from __future__ import annotations

from dataclasses import replace

import pytest

from pages.components.promotions import checklist
from phi3core import tags
from phi3core.evaluation import prompt_sets
from phi3core.promotion.policy import policy
from phi3core.promotion.policy.policy import Policy, ScoreLimit, Threshold
from phi3core.promotion.record import search
from phi3core.settings import Settings
from phi3core.store.client import mlflow_client
from tests.app.conftest import Open, Register
from tests.app.dialogs import ANN, RUTH, become, keys_of, plain, warned


def test_a_policy_is_explained_where_there_is_none_and_set_by_an_admin(
    open_page: Open, register: Register, settings: Settings
) -> None:
    register()
    at = open_page("promotions", view="policies")
    assert "A policy says what a version needs" in plain(at)
    at.button(key="policy_edit_Staging").click().run()
    at.number_input(key="policy_approvals").set_value(2)
    at.checkbox(key="policy_other").set_value(True)
    at.number_input(key="policy_win_rate").set_value(55)
    at.text_area(key="policy_reason").set_value("Agreed")
    at.button(key="policy_edit_Staging").click()
    at.button(key="policy_save").click()
    at.run()
    assert not at.exception
    found = policy.read(settings, "phi3")
    assert found == {"Staging": Policy(approvals=2, other_approver=True, win_rate=0.55)}
    assert "2 approvals of the artifact as it is now, one of them not by its author" in plain(at)
    assert "a win rate of 55% or more" in plain(at)
    assert search.of_model(settings, "phi3")[0].reason == "Agreed"


def test_a_policy_is_told_in_words_and_only_an_admin_changes_it(
    open_page: Open, register: Register, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    register()
    wanted = Policy(reviews=3, metrics=(Threshold("tokens_per_second", 20.0),), tags=("phi3.licence",))
    policy.write(settings, "phi3", "Production", wanted, ANN)
    become(RUTH, settings, monkeypatch)
    at = open_page("promotions", view="policies", model="phi3")
    for words in ("a thumb or a vote by 3 people", "`tokens_per_second` at least 20", "the tags `phi3.licence`"):
        assert words in plain(at)
    assert not [key for key in keys_of(at) if key.startswith("policy_")]
    become(ANN, settings, monkeypatch)
    at = open_page("promotions", view="policies", model="phi3")
    at.button(key="policy_edit_Production").click().run()
    at.button(key="policy_edit_Production").click()
    at.button(key="policy_remove").click()
    at.run()
    assert policy.read(settings, "phi3") == {}


def test_a_policy_that_was_damaged_says_that_nothing_passes(
    open_page: Open, register: Register, settings: Settings
) -> None:
    register()
    mlflow_client(settings).set_registered_model_tag("phi3", tags.POLICY, '{"Production": {"approvals": -1}}')
    at = open_page("promotions", view="policies", model="phi3")
    assert not at.exception
    assert "can't be read" in warned(at)
    assert "policy_edit_Production" in keys_of(at)


def test_what_reviews_and_evaluations_must_show_is_set_and_told(
    open_page: Open, register: Register, settings: Settings
) -> None:
    register()
    everyday = prompt_sets.find_set(settings, "everyday")
    pinned = f"everyday@{everyday.digest}"
    kept = Policy(scores=(ScoreLimit(pinned, "contains", 0.8),))
    policy.write(settings, "phi3", "Production", kept, ANN)
    at = open_page("promotions", view="policies", model="phi3")
    assert f"`contains` at least 0.8 on `{everyday.ref}`" in plain(at)
    at.button(key="policy_edit_Production").click().run()
    at.number_input(key="policy_review_win_rate").set_value(55)
    at.number_input(key="policy_agreement").set_value(0.6)
    at.multiselect(key="policy_no_regression").set_value([pinned])
    at.button(key="policy_edit_Production").click()
    at.button(key="policy_save").click()
    at.run()

    assert not at.exception
    wanted = replace(kept, review_win_rate=0.55, agreement=0.6, no_regression=(pinned,))
    assert policy.read(settings, "phi3") == {"Production": wanted}
    told = plain(at)
    assert "for certain that it wins 55% or more of the votes" in told
    assert f"nothing surely lower than the present Production on `{everyday.ref}`" in told


def test_a_line_leads_to_what_it_rests_on_and_nowhere_else() -> None:
    assert "[See the review](/review?view=results&r=" in checklist.line(True, "review", "70 %", f"review {'a' * 32}")
    assert f"(/evaluate?run={'b' * 32})" in checklist.line(True, "score", "0.9", f"evaluation {'b' * 32}")
    for source in ("", "review", "review javascript:alert(1)", "review x](https://evil.example)", f"tag {'a' * 32}"):
        assert "](" not in checklist.line(True, "review", "70 %", source)
