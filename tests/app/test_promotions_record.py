"""Promotions: the record, its filter, and what was done to it behind the app's back."""

from __future__ import annotations

import csv
import io
from datetime import UTC, datetime

import pytest

from pages.components.promotions import record_view
from pages.components.promotions.record_reads import Filter
from pages.components.shared import reads
from phi3core import tags
from phi3core.promotion.promote import promote, set_alias
from phi3core.promotion.reconcile import reconcile
from phi3core.promotion.record import history as history_module
from phi3core.promotion.record import search, writer
from phi3core.promotion.record.model import Record
from phi3core.settings import Settings
from phi3core.store.client import experiment_id, mlflow_client
from tests.app.conftest import Open, Register, links
from tests.app.dialogs import ANN, RUTH, become, keys_of, listed, plain, press, warned
from tests.support import fakes


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
    monkeypatch.setattr(history_module, "_RECENT", 2)  # what a look reads
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
            reads.invalidate()
            at = open_page("promotions", **query)
            assert "phi3/1** · promote Production: under way, begun by ruth@example.org" in plain(at), query
