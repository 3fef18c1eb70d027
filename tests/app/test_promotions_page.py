"""Promotions: an empty page, its addresses, and the requests that wait."""

from __future__ import annotations

import pytest

from phi3core.access.roles import Person
from phi3core.promotion.policy import policy, requests
from phi3core.promotion.policy.policy import Policy
from phi3core.promotion.record import search
from phi3core.registry import reader
from phi3core.settings import Settings
from tests.app.conftest import Open, Register, links
from tests.app.dialogs import ANN, RAY, RUTH, VERA, become, keys_of, plain, press, warned


@pytest.fixture
def asked(register: Register, settings: Settings) -> str:
    """The id of a request for phi3/1."""
    register()
    return requests.ask(settings, "phi3/1", "Production", "It won the *review*.", RAY).id


# ---------------------------------------------------------------- nothing there yet


def test_without_anything_each_view_says_what_to_do(open_page: Open) -> None:
    at = open_page("promotions")
    assert not at.exception
    assert "Nothing was promoted yet" in plain(at)
    for view in ("timeline", "policies"):
        at = open_page("promotions", view=view)
        assert not at.exception
        assert links(at) == {"Build a version": "build"}
    assert "No request waits" in plain(open_page("promotions", view="requests"))


@pytest.mark.parametrize(
    "query",
    [
        {"view": "nothing"},
        {"model": "nothing"},
        {"view": "record", "days": "x", "action": "dance", "status": "odd"},
        {"record": "0" * 32},
    ],
)
def test_an_address_that_makes_no_sense_opens_the_page_all_the_same(
    open_page: Open, register: Register, query: dict[str, str]
) -> None:
    register()
    at = open_page("promotions", **query)
    assert not at.exception
    assert at.title[0].value == "Promotions"
    assert ("There is no registered model" in warned(at)) == ("model" in query)


# ---------------------------------------------------------------- requests


def test_what_waits_is_counted_and_shown_first(open_page: Open, settings: Settings, asked: str) -> None:
    at = open_page("promotions")
    assert not at.exception
    assert "Requests (1)" in str(at.button_group(key="promotions_view").options)
    assert "phi3/1** →" in plain(at)
    assert "It won the *review*." in plain(at)
    assert "Asked by ray@example.org" in plain(at)


@pytest.mark.parametrize(
    ("person", "may"),
    [
        (VERA, set()),
        (RAY, {"approve", "reject", "withdraw"}),  # he asked
        (RUTH, {"approve", "reject", "promote"}),
        (ANN, {"approve", "reject", "promote", "withdraw"}),
    ],
)
def test_everybody_is_offered_what_the_role_allows(
    open_page: Open,
    settings: Settings,
    asked: str,
    person: Person,
    may: set[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    become(person, settings, monkeypatch)
    at = open_page("promotions")
    assert {key.split("_")[1] for key in keys_of(at) if key.startswith("request_")} == may


def test_a_reviewer_approves_and_the_release_manager_promotes_from_here(
    open_page: Open, settings: Settings, asked: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    policy.write(settings, "phi3", "Production", Policy(approvals=1), ANN)
    become(RUTH, settings, monkeypatch)
    at = open_page("promotions")
    press(at, f"request_approve_{asked}", "decide_confirm", decide_comment="I read *twenty* answers.")
    assert not at.exception
    assert requests.get(settings, asked).status == "approved"
    assert "ruth@example.org** approves: I read *twenty* answers." in plain(at)
    press(at, f"request_promote_{asked}", "move_confirm", move_reason="As reviewed")
    assert not at.exception
    assert reader.get_version(settings, "phi3/Production").version == 1
    assert "phi3/1 is now in Production." in plain(at)
    assert "No request waits" in plain(at)
    newest = search.of_model(settings, "phi3")[0]
    assert (newest.action, newest.request, newest.reason, newest.user) == ("promote", asked, "As reviewed", RUTH.name)


def test_a_rejection_wants_a_comment_and_ends_the_wait(open_page: Open, settings: Settings, asked: str) -> None:
    at = open_page("promotions")
    press(at, f"request_reject_{asked}", "decide_confirm")
    assert "Say what has to change" in warned(at)
    press(at, f"request_reject_{asked}", "decide_confirm", decide_comment="No licence tag")
    assert requests.get(settings, asked).status == "rejected"
    assert "No request waits" in plain(at)
    at = open_page("promotions", view="requests", model="phi3")
    assert "rejects: No licence tag" in plain(at)


def test_who_asked_takes_it_back(
    open_page: Open, settings: Settings, asked: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    become(RAY, settings, monkeypatch)
    at = open_page("promotions")
    press(at, f"request_withdraw_{asked}", "withdraw_confirm")
    assert not at.exception
    assert requests.get(settings, asked).status == "withdrawn"


# ---------------------------------------------------------------- a store that is away


def test_a_dead_store_gets_one_sentence(open_page: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    at = open_page("promotions")
    assert not at.exception
    assert len(at.error) == 1
    assert "does not answer" in at.error[0].value
