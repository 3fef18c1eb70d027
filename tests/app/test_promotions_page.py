"""Promotions: what waits, what was done, which version was in Production when, and what a promotion needs."""

from __future__ import annotations

import csv
import io
from datetime import UTC, datetime, timedelta

import plotly.graph_objects as go
import pytest
from streamlit.testing.v1 import AppTest

from pages.components.promotions import record_view, timeline
from pages.components.shared import known
from pages.components.shared.known import Filter
from phi3core import tags
from phi3core.access.roles import Person
from phi3core.promotion import reconcile as reconcile_module
from phi3core.promotion.policy import policy, requests
from phi3core.promotion.policy.policy import Policy, Threshold
from phi3core.promotion.promote import promote, set_alias
from phi3core.promotion.reconcile import reconcile
from phi3core.promotion.record import search, writer
from phi3core.promotion.record.model import Record
from phi3core.promotion.record.timeline import Span
from phi3core.promotion.record.timeline import spans as spans_of
from phi3core.registry import reader
from phi3core.settings import Settings
from phi3core.store.client import experiment_id, mlflow_client
from tests.app.conftest import Open, Register, links
from tests.app.dialogs import ANN, RAY, RUTH, VERA, become, plain, warned
from tests.support import fakes


def keys_of(at: AppTest) -> set[str]:
    return {str(button.key) for button in at.button}


def listed(at: AppTest) -> list[tuple[str, str]]:
    """Version and action of each row of the record."""
    table = at.dataframe[0].value
    return list(zip(table["Version"], table["What"]))


def press(at: AppTest, opener: str, button: str, **typed: str) -> AppTest:
    """Through a dialog. A test has no fragment runs, so the dialog's own button is held open with it."""
    at.button(key=opener).click().run()
    for key, text in typed.items():
        at.text_area(key=key).set_value(text)
    at.button(key=opener).click()
    at.button(key=button).click()
    return at.run()


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


# ---------------------------------------------------------------- the record


@pytest.fixture
def history(register: Register, settings: Settings) -> list[Record]:
    """What was done to phi3 and other, newest first."""
    register(), register(), register("other")
    promote(settings, "phi3/1", "Production", "First", RUTH)
    set_alias(settings, "phi3/2", "champion", "Wins <b>always</b>", RUTH)
    promote(settings, "phi3/2", "Production", "Faster", ANN)
    promote(settings, "other/1", "Staging", "", ANN)
    return list(search.page(settings).records)


def test_the_record_is_listed_newest_first_and_filtered(open_page: Open, history: list[Record]) -> None:
    at = open_page("promotions")
    assert not at.exception
    everything = [("other/1", "promote"), ("phi3/2", "promote"), ("phi3/2", "set alias"), ("phi3/1", "promote")]
    assert listed(at) == everything
    at.selectbox(key="promotions_model").set_value("phi3").run()
    assert listed(at) == everything[1:]
    at.selectbox(key="promotions_action").set_value("promote").run()
    assert listed(at) == [("phi3/2", "promote"), ("phi3/1", "promote")]
    at.text_input(key="promotions_user").set_value(RUTH.name).run()
    assert listed(at) == [("phi3/1", "promote")]
    assert at.query_params == {"view": "record", "model": "phi3", "action": "promote", "user": RUTH.name}


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ({"text": "FAST"}, ["phi3/2"]),
        ({"status": "failed"}, []),
        ({"action": "set alias"}, ["phi3/2"]),
        ({"model": "other"}, ["other/1"]),
        ({"days": "2020-01-01_2020-12-31"}, []),
        ({"days": f"{datetime.now(UTC):%Y-%m-%d}", "user": ANN.name}, ["other/1", "phi3/2"]),
    ],
)
def test_a_link_to_a_filter_shows_what_it_names(
    open_page: Open, history: list[Record], query: dict[str, str], found: list[str]
) -> None:
    at = open_page("promotions", view="record", **query)
    assert not at.exception
    if found:
        assert [version for version, _ in listed(at)] == found
    else:
        assert "No record matches" in plain(at)


def test_a_link_to_a_record_opens_all_that_it_holds(open_page: Open, history: list[Record]) -> None:
    record = history[1]
    at = open_page("promotions", record=record.id)
    assert not at.exception
    shown = plain(at)
    for fact in ("ann@example.org · admin", "None", "Production", "phi3/1, became Archived", "Faster", record.id):
        assert fact in shown
    assert ":gray[Seal] intact" in shown
    assert links(at) == {r"Open phi3\/2": "registry?model=phi3&version=2"}


def test_a_page_at_a_time_and_the_file_has_all_of_them(
    open_page: Open, settings: Settings, history: list[Record], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(record_view, "_ROWS", 3)
    at = open_page("promotions")
    assert len(listed(at)) == 3
    assert at.button(key="record_newer").disabled
    at.button(key="record_older").click().run()
    assert listed(at) == [("phi3/1", "promote")]
    assert "4 – 4" in plain(at)
    at.selectbox(key="promotions_action").set_value("promote").run()
    assert len(listed(at)) == 3, "another filter begins at its first page"
    monkeypatch.setattr(record_view, "_EXPORTED", 2)
    rows = list(csv.DictReader(io.StringIO(search.export(record_view.everything(Filter(action="promote")), "csv"))))
    assert [(row["model"], row["version"]) for row in rows] == [("other", "1"), ("phi3", "2"), ("phi3", "1")]


def test_an_edited_record_is_told_at_the_top_and_in_its_row(
    open_page: Open, settings: Settings, history: list[Record]
) -> None:
    mlflow_client(settings).set_tag(history[1].id, tags.REASON, "Nobody asked me")
    at = open_page("promotions", model="phi3", record=history[1].id)
    assert "The record was tampered with" in warned(at)
    assert "was edited after it was written" in warned(at).replace("\\", "")
    assert list(at.dataframe[0].value[""]) == ["✗ edited", "", ""]
    assert "its seal does not match" in warned(at)


def test_a_deleted_record_is_missed_among_all_models(
    open_page: Open, settings: Settings, history: list[Record]
) -> None:
    mlflow_client(settings).delete_run(history[1].id)
    at = open_page("promotions")
    at.run()  # it is looked for in the background
    assert "is missing" in warned(at)


def test_an_old_record_of_a_model_that_was_deleted_is_missed_on_its_page(
    open_page: Open, settings: Settings, history: list[Record], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reconcile_module, "_RECENT", 2)  # what a look reads
    set_alias(settings, "phi3/1", "challenger", "", RUTH)
    mlflow_client(settings).delete_run(history[-1].id)
    assert reconcile(settings, "phi3").damage == []
    at = open_page("promotions", model="phi3")
    at.run()  # it is looked for in the background
    assert "is missing" in warned(at)


def test_a_record_that_was_made_up_is_told_at_the_top_and_in_its_row(
    open_page: Open, settings: Settings, history: list[Record]
) -> None:
    tag_values = {tags.ACTION: "promote", tags.MODEL_NAME: "phi3", tags.VERSION: "1", tags.TO: "Production"}
    made = mlflow_client(settings).create_run(experiment_id(settings, tags.PROMOTIONS), tags=tag_values).info.run_id
    mlflow_client(settings).set_terminated(made)
    at = open_page("promotions", model="phi3", record=made)
    assert "was not written by this app: it has no seal" in warned(at).replace("\\", "")
    assert list(at.dataframe[0].value[""])[:2] == ["✗ no seal", ""]
    assert ":gray[Seal] It has no seal" in plain(at)


def test_a_digest_that_nobody_checked_is_told_as_such(open_page: Open, settings: Settings) -> None:
    fakes.register(settings, tags={tags.DIGEST: "d" * 64})
    record = promote(settings, "phi3/1", "Production", "", ANN).record
    at = open_page("promotions", record=record)
    assert ":gray[Files] The digest is as registered, not checked" in plain(at)
    assert "The policy, as it was met then" not in plain(at)


def test_deleted_records_are_told_and_an_admin_restores_them(
    open_page: Open, settings: Settings, history: list[Record], monkeypatch: pytest.MonkeyPatch
) -> None:
    mlflow_client(settings).delete_experiment(experiment_id(settings, tags.PROMOTIONS))
    become(RUTH, settings, monkeypatch)
    at = open_page("promotions")
    assert not at.exception
    assert "The record was deleted" in warned(at)
    assert "record_restore" not in keys_of(at)
    become(ANN, settings, monkeypatch)
    at = open_page("promotions")
    press(at, "record_restore", "record_restore_confirm")
    assert not at.exception
    assert "The record is back" in plain(at)
    assert "The record was deleted" not in warned(at)
    assert ("phi3/2", "promote") in listed(at)


def test_what_is_under_way_is_told(open_page: Open, register: Register, settings: Settings) -> None:
    register()
    with writer.opened(settings, RUTH, model="phi3", version=1, action="promote", old="None", new="Production"):
        for query in ({}, {"model": "phi3"}):
            known.forget()
            at = open_page("promotions", **query)
            assert "phi3/1** · promote Production: under way, begun by ruth@example.org" in plain(at), query


# ---------------------------------------------------------------- the timeline


def test_the_timeline_is_of_one_model_and_a_way_back(open_page: Open, history: list[Record]) -> None:
    at = open_page("promotions", view="timeline")
    assert not at.exception
    assert at.selectbox(key="promotions_model").value == "phi3", "the first that has a Production"
    assert "timeline_rollback" in keys_of(at)
    at.selectbox(key="promotions_model").set_value("other").run()
    assert "No version of other was in Production yet" in plain(at)


NOW = datetime(2026, 6, 1, tzinfo=UTC)


def chart(count: int) -> go.Figure:
    """Each version a day in Production, the last one still there."""
    starts = [NOW - timedelta(days=count - at) for at in range(count)]
    spans = [Span(at + 1, start, start + timedelta(days=1), f"r{at}") for at, start in enumerate(starts)]
    spans[-1] = Span(count, starts[-1], None, spans[-1].record)
    return timeline.figure(spans, {}, "Production", NOW)


@pytest.mark.parametrize("count", [1, 3, 100])
def test_a_bar_for_each_span_the_newest_on_top_and_the_present_one_marked(count: int) -> None:
    figure = chart(count)
    (bars,) = figure.data
    assert len(bars.x) == count
    assert list(bars.x) == [timedelta(days=1).total_seconds() * 1000] * count
    assert bars.marker.color[-1] not in bars.marker.color[:-1]
    assert len(figure.layout.yaxis.ticktext) <= 40, "names would cover each other"
    assert figure.layout.height <= 620
    assert "2026-06-01 00:00" not in bars.customdata[-1][1]
    assert "– now UTC" in bars.customdata[-1][1]


def test_pointing_at_a_bar_tells_who_and_why_and_runs_nothing(history: list[Record]) -> None:
    spans = spans_of(history)
    by_id = {record.id: record for record in history}
    told = timeline.figure(spans, by_id, "Production", datetime.now(UTC)).data[0].customdata
    assert "promote by ruth@example.org<br>First" in told[0][1]
    evil = {record.id: _with_reason(record, "<a href='x'>" + "y" * 900) for record in history}
    told = timeline.figure(spans, evil, "Production", datetime.now(UTC)).data[0].customdata
    assert "<a" not in told[0][1]
    assert len(told[0][1]) < 600


def _with_reason(record: Record, reason: str) -> Record:
    from dataclasses import replace

    return replace(record, reason=reason)


# ---------------------------------------------------------------- policies


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
    for words in ("3 reviews", "`tokens_per_second` at least 20", "the tags `phi3.licence`"):
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


# ---------------------------------------------------------------- a store that is away


def test_a_dead_store_gets_one_sentence(open_page: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    at = open_page("promotions")
    assert not at.exception
    assert len(at.error) == 1
    assert "does not answer" in at.error[0].value
