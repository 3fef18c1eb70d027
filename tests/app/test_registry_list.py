"""Registry: the list with its search, filters and sorting."""

from __future__ import annotations

import json
import re
import time

import pytest
from streamlit.testing.v1 import AppTest

from phi3core import tags
from phi3core.errors import StoreDown
from phi3core.promotion.policy import requests
from phi3core.promotion.promote import promote, set_alias
from phi3core.registry import reader
from phi3core.registry.index import Index, get_index
from phi3core.settings import Settings
from phi3core.store import client as client_module
from phi3core.store.client import mlflow_client
from phi3core.traces import feedback
from tests.app.conftest import Open, Register, links
from tests.app.registry import ADA, rows, said
from tests.app.talks import shown
from tests.support import fakes


def test_an_empty_registry_leads_to_the_build_page(open_page: Open) -> None:
    at = open_page("registry")
    assert not at.exception
    assert "The registry is empty" in said(at)
    assert links(at) == {"Build a version": "build"}


def test_versions_of_all_models_are_listed_newest_first_with_what_tells_them_apart(
    open_page: Open, register: Register, settings: Settings
) -> None:
    register(wrapper="transformers")
    register(wrapper="onnx")
    register("other")
    promote(settings, "phi3/1", "Production")
    set_alias(settings, "phi3/2", "champion")
    at = open_page("registry")
    assert not at.exception
    table = at.dataframe[0].value
    assert list(table["Version"]) == ["other/1", "phi3/2", "phi3/1"]
    assert [list(stage) for stage in table["Stage"]] == [[], [], ["Production"]]
    assert [list(aliases) for aliases in table["Aliases"]] == [[], ["@champion"], []]
    assert list(table["Wrapper"]) == ["onnx", "onnx", "transformers"]
    assert list(table["Size, MB"]) == [117.0] * 3
    assert re.search(r"3 versions of 2 models, read (just now|\d+ s ago)\.", said(at))
    fakes.until(lambda: list(at.run().dataframe[0].value["Tokens/s"]) == [123.4] * 3)  # metrics are read last
    shown = json.loads(at.dataframe[0].proto.columns)
    assert shown["Tokens/s"]["type_config"]["format"] == "%.3g"  # 0.26 is not 0


def test_a_list_of_many_versions_takes_as_many_calls_as_a_list_of_one(
    open_page: Open, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Never one call per row: the index is filled page by page, and the list asks about all its rows at once."""

    def calls(count: int) -> int:
        for _ in range(count):
            fakes.register(settings, "many", metrics={"speed": 1.0})
        counting = fakes.CountingClient(mlflow_client(settings))
        monkeypatch.setattr(client_module, "_client", lambda _: counting)
        found = get_index(settings)
        found.refresh()
        begun = counting.calls.total()
        at = open_page("registry")
        assert len(rows(at)) == min(50, len(reader.list_versions(settings, "many")))
        monkeypatch.undo()
        return counting.calls.total() - begun

    few = calls(1)
    assert calls(30) <= few + 3


_ADDRESSES = [
    ({"q": "EDGE team"}, ["edge/1"]),
    ({"model": "phi3", "stage": "Production"}, ["phi3/1"]),
    ({"alias": "@champion"}, ["phi3/2"]),
    ({"wrapper": "transformers"}, ["phi3/2"]),
    ({"source": "microsoft", "tag": "team=search"}, ["edge/1"]),
    ({"owner": "bob@example.org"}, ["phi3/2"]),
    ({"sort": "Oldest first"}, ["phi3/1", "phi3/2", "edge/1"]),
    ({"sort": "speed, lowest first"}, ["phi3/2", "edge/1", "phi3/1"]),
    ({"tag": "team=other"}, []),
]


def opened(open_page: Open, query: dict[str, str], expected: list[str]) -> AppTest | None:
    """The list at this address, once it holds these rows."""
    at = open_page("registry", **query)
    return at if rows(at) == expected else None


def test_an_address_filters_and_sorts_the_list(open_page: Open, settings: Settings) -> None:
    """Every filter is in the address, so that a link and a reload show the same."""
    ours = {tags.WRAPPER: "onnx", tags.SOURCE: "embedded"}
    fakes.register(settings, "phi3", tags=ours, metrics={"speed": 30.0})
    bobs = {tags.WRAPPER: "transformers", tags.SOURCE: "embedded", tags.USER: "bob@example.org"}
    fakes.register(settings, "phi3", tags=bobs, metrics={"speed": 10.0})
    edge = {tags.WRAPPER: "onnx", tags.SOURCE: "hf:microsoft/Phi-3", "team": "search"}
    fakes.register(settings, "edge", tags=edge, metrics={"speed": 20.0})
    promote(settings, "phi3/1", "Production")
    set_alias(settings, "phi3/2", "champion")
    for query, expected in _ADDRESSES:
        # Metrics are read last; until then the list is sorted by what is known.
        at = fakes.until(lambda query=query, expected=expected: opened(open_page, query, expected))
        assert not at.exception
    assert "No version matches with tag team=other." in said(at)


def test_typing_and_choosing_narrows_the_list_and_clearing_brings_all_back(open_page: Open, settings: Settings) -> None:
    for name in ("phi3", "edge"):
        fakes.register(settings, name)
    at = open_page("registry")
    at.text_input(key="q").set_value("edge").run()
    at.selectbox(key="stage").set_value("None").run()
    assert rows(at) == ["edge/1"]
    at.text_input(key="q").set_value("nowhere").run()
    assert "No version matches “nowhere” with stage None." in said(at)
    at.button(key="registry_clear_all").click().run()
    assert rows(at) == ["edge/1", "phi3/1"]


def test_the_list_has_pages_and_another_question_starts_on_the_first(open_page: Open, settings: Settings) -> None:
    for _ in range(53):
        fakes.register(settings, "many")
    at = open_page("registry", page="2")
    assert rows(at) == ["many/3", "many/2", "many/1"]
    assert "51–53 of 53" in said(at)
    at.text_input(key="q").set_value("many").run()
    assert len(rows(at)) == 50
    assert rows(at)[0] == "many/53"


@pytest.mark.parametrize(
    "query", [{"page": "99"}, {"page": "x"}, {"sort": "nothing"}, {"stage": "Nowhere"}, {"list": "?"}]
)
def test_an_address_that_makes_no_sense_shows_the_list_all_the_same(
    open_page: Open, settings: Settings, query: dict[str, str]
) -> None:
    fakes.register(settings, "phi3")
    at = open_page("registry", **query)
    assert not at.exception
    assert rows(at) == ["phi3/1"]


def test_a_model_is_one_row_with_who_holds_its_stages(open_page: Open, register: Register, settings: Settings) -> None:
    for _ in range(3):
        register()
    register("other")
    promote(settings, "phi3/1", "Production")
    promote(settings, "phi3/2", "Staging")
    set_alias(settings, "phi3/3", "champion")
    at = open_page("registry", list="Models")
    assert not at.exception
    table = at.dataframe[0].value.set_index("Model")
    assert list(table.index) == ["other", "phi3"]
    phi3 = table.loc["phi3"]
    assert (list(phi3["Production"]), list(phi3["Staging"]), phi3["Versions"]) == (["/1"], ["/2"], 3)
    assert (list(phi3["Aliases"]), phi3["Newest"]) == (["@champion /3"], "/3")
    assert list(table.loc["other"]["Production"]) == []


def test_a_row_tells_what_is_asked_for_it_and_how_often_it_was_judged(
    open_page: Open, register: Register, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(2):
        register()
    requests.ask(settings, "phi3/2", "Production", "It is better.", ADA)
    monkeypatch.setattr(feedback, "count_reviews", lambda _: {"phi3/1": 3})
    at = open_page("registry")
    deadline = time.monotonic() + 10
    while "Review" not in at.dataframe[0].value and time.monotonic() < deadline:
        at.run()
    at.run()
    assert [list(state) for state in at.dataframe[0].value["Review"]] == [["asked"], ["3 reviews"]]


def test_a_change_of_this_app_is_in_the_list_at_once(open_page: Open, register: Register, settings: Settings) -> None:
    register()
    at = open_page("registry")
    promote(settings, "phi3/1", "Production")
    assert [list(stage) for stage in at.run().dataframe[0].value["Stage"]] == [["Production"]]


def test_refresh_reads_what_was_changed_elsewhere(open_page: Open, settings: Settings) -> None:
    fakes.register(settings, "phi3")
    at = open_page("registry")
    fakes.register(settings, "phi3")
    at.run()
    assert rows(at) == ["phi3/1"]
    at.button(key="registry_refresh").click().run()
    assert rows(at) == ["phi3/2", "phi3/1"]


def test_until_the_index_is_filled_the_list_shows_what_is_there(
    open_page: Open, register: Register, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pages.components.registry import list_view

    register()
    monkeypatch.setattr(list_view, "_PATIENCE", 0.0)
    monkeypatch.setattr(get_index(settings), "start", lambda: None)
    at = open_page("registry")
    assert not at.exception
    assert "The index is being filled" in said(at)
    assert rows(at) == ["phi3/1"]
    get_index(settings).refresh()
    assert "The index is being filled" not in said(at.run())
    assert "read just now" in said(at)


def test_a_store_that_goes_away_leaves_the_list_with_its_age_and_the_reason(
    open_page: Open, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    fakes.register(settings, "phi3")
    at = open_page("registry")
    assert not at.warning

    def down(*_: object, **__: object) -> None:
        raise StoreDown("The MLflow store does not answer.")

    with monkeypatch.context() as patch:
        patch.setattr(Index, "refresh", down)
        at.button(key="registry_refresh").click().run()
        fakes.until(lambda: get_index(settings).error)
        at.run()
        assert rows(at) == ["phi3/1"]
        assert shown(at.warning[0].value).startswith("The MLflow store does not answer. What is shown was read ")
    at.button(key="registry_refresh").click().run()
    assert not at.warning
    assert "read just now" in said(at)


def test_a_stage_that_disagrees_is_shown_beside_the_one_that_counts(
    open_page: Open, register: Register, settings: Settings
) -> None:
    for _ in range(2):
        register()
    for number in ("1", "2"):
        mlflow_client(settings).transition_model_version_stage("phi3", number, "Production")
    at = open_page("registry")
    shown = dict(zip(rows(at), at.dataframe[0].value["Stage"]))
    assert {ref: list(stages) for ref, stages in shown.items()} == {
        "phi3/2": ["Production"], "phi3/1": ["MLflow: Production"],
    }  # fmt: skip
    assert "a higher number in the stage of phi3/1: that one counts" in said(at)
