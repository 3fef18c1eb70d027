"""Registry: the list with its filters, a version's page, and what moves."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import streamlit as st
from streamlit.testing.v1 import AppTest

from phi3core import tags
from phi3core.access.roles import Person
from phi3core.chat import history
from phi3core.errors import StoreDown
from phi3core.promotion.policy import requests
from phi3core.promotion.promote import promote, set_alias
from phi3core.promotion.record import search
from phi3core.registry import compare, reader
from phi3core.registry.compare import Comparison, Difference
from phi3core.registry.index import Index, get_index
from phi3core.settings import Settings
from phi3core.store import client as client_module
from phi3core.store.client import Abilities, mlflow_client
from phi3core.traces import feedback
from phi3core.traces.turn import Turn
from tests.app.conftest import Open, Register, links
from tests.app.conftest import said as escaped
from tests.support import fakes

ADA = Person("ada@example.org", "admin")


def said(at: AppTest) -> str:
    """What a page says, as it is read: without the signs that keep names from being taken for Markdown."""
    return re.sub(r"\\(.)", r"\1", escaped(at)).replace("\u2060", "")


def rows(at: AppTest, column: str = "Version") -> list[str]:
    return list(at.dataframe[0].value[column]) if at.dataframe else []


def tables(at: AppTest) -> str:
    return re.sub(r"\\(.)", r"\1", "\n".join(table.value.to_string() for table in at.table))


def code(at: AppTest) -> str:
    return "\n".join(block.value for block in at.code)


@pytest.fixture
def role(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[object]:
    """Give whoever sits here a role."""

    def give(name: str) -> None:
        monkeypatch.setenv("PHI3_USER", "eve@example.org")
        settings.secrets.write_text(f'[roles]\n{name} = ["eve@example.org"]\n')

    yield give
    settings.secrets.unlink(missing_ok=True)


# ---------------------------------------------------------------- the list


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
    from pages.components.registry import browse

    register()
    monkeypatch.setattr(browse, "_PATIENCE", 0.0)
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
        assert at.warning[0].value.startswith("The MLflow store does not answer. What is shown was read ")
    at.button(key="registry_refresh").click().run()
    assert not at.warning
    assert "read just now" in said(at)


# ---------------------------------------------------------------- a version's page


def test_a_versions_page_tells_what_it_is(open_page: Open, register: Register, settings: Settings) -> None:
    register()
    mlflow_client(settings).update_model_version("phi3", "1", "The **first** one.")
    at = open_page("registry", model="phi3", version="1")
    assert not at.exception
    assert "phi3/1" in said(at)
    assert {metric.label: metric.value for metric in at.metric} == {
        "Speed": "123 tokens/s", "First token": "41 ms", "Memory": "–", "Size": "117 MB"
    }  # fmt: skip
    shown = said(at)
    assert "The **first** one." in shown
    assert "It takes “prompt” (text) and gives text." in shown
    assert "apache-2.0" in tables(at)
    assert "embedded" in tables(at)


@pytest.mark.parametrize(
    ("tab", "sentence"),
    [
        ("Signature", "temperature: number, else 0.4"),
        ("Metrics", "The metric's name"),
        ("Files", "1 file, "),
        ("Reviews", "Nobody has talked to it or judged it yet."),
        ("Record", "Nothing was done to it yet"),
        ("Use it", "Ask for it as"),
    ],
)
def test_each_tab_has_an_address_and_only_the_open_one_is_read(
    open_page: Open, register: Register, tab: str, sentence: str
) -> None:
    register()
    at = open_page("registry", model="phi3", version="1", tab=tab)
    assert not at.exception
    shown = said(at) + "\n".join(box.label for box in at.selectbox)
    if tab == "Metrics":
        assert "tokens_per_second" in tables(at)
    else:
        assert sentence in shown
    assert "No description yet." not in shown


def test_metrics_are_told_against_the_version_in_production(open_page: Open, settings: Settings) -> None:
    fakes.register(settings, "phi3", metrics={tags.TOKENS_PER_SECOND: 100.0, tags.FIRST_TOKEN_MS: 50.0})
    fakes.register(settings, "phi3", metrics={tags.TOKENS_PER_SECOND: 80.0, tags.FIRST_TOKEN_MS: 30.0})
    promote(settings, "phi3/1", "Production")
    at = open_page("registry", model="phi3", version="2")
    assert {m.label: m.delta for m in at.metric if m.delta} == {"Speed": "-20 tokens/s", "First token": "-20 ms"}
    at = open_page("registry", model="phi3", version="1")
    assert [metric.delta for metric in at.metric if metric.delta] == []


def test_the_files_are_told_with_their_digests_and_whether_they_are_what_was_registered(
    open_page: Open, settings: Settings, tmp_path: Path
) -> None:
    from tests.support import logged

    folder = logged.save(tmp_path / "echo")
    logged.register(settings, "phi3", folder)
    at = open_page("registry", model="phi3", version="1", tab="Files")
    assert not at.exception
    assert "The files are what was registered" in said(at)
    assert {"MLmodel", "tokenizer/chat_template.jinja"} <= set(rows(at, "File"))
    assert all(re.fullmatch("[0-9a-f]{64}", digest) for digest in rows(at, "SHA-256"))
    assert "mlflow==3.17.2" in code(at)
    assert "# Python 3.11" in code(at)

    (folder / "requirements.txt").write_text("mlflow\n")
    import streamlit as st

    st.cache_resource.clear()  # as after some seconds
    at = open_page("registry", model="phi3", version="1", tab="Files")
    assert "The files are not what was registered" in said(at)


def test_the_code_to_call_it_names_the_reference_that_is_chosen(
    open_page: Open, register: Register, settings: Settings
) -> None:
    register()
    promote(settings, "phi3/1", "Production")
    set_alias(settings, "phi3/1", "champion")
    at = open_page("registry", model="phi3", version="1", tab="Use it")
    assert at.selectbox(key="calling_phi3/1").options == ["phi3/1", "phi3/Production", "phi3@champion"]
    assert 'mlflow.pyfunc.load_model("models:/phi3/1")' in code(at)
    assert 'model.predict([{"prompt": "What is the capital of Spain?"}])' in code(at)
    at.selectbox(key="calling_phi3/1").set_value("phi3/Production").run()
    shown = code(at)
    assert 'load_model("models:/phi3@production")' in shown
    assert 'model="phi3/Production"' in shown
    assert '"model": "phi3/Production"' in shown
    assert "python -m phi3core chat phi3/Production" in shown


def test_the_record_of_a_version_is_on_its_page(open_page: Open, register: Register, settings: Settings) -> None:
    register()
    promote(settings, "phi3/1", "Production", "It won.", ADA)
    at = open_page("registry", model="phi3", version="1", tab="Record")
    assert not at.exception
    assert rows(at, "What") == ["promote"]
    assert rows(at, "Who") == ["ada@example.org"]
    assert rows(at, "Why") == ["It won."]


def test_what_is_asked_for_a_version_is_shown_on_its_page(
    open_page: Open, register: Register, settings: Settings
) -> None:
    register()
    requests.ask(settings, "phi3/1", "Production", "It is better.", Person("bob", "reviewer"))
    at = open_page("registry", model="phi3", version="1")
    deadline = time.monotonic() + 10
    while "It is better." not in said(at) and time.monotonic() < deadline:
        at.run()
    assert "Asked by bob" in said(at)


def test_a_version_that_is_not_ours_and_whose_files_are_gone_is_shown_all_the_same(
    open_page: Open, settings: Settings, tmp_path: Path
) -> None:
    fakes.register(settings, "theirs", (tmp_path / "gone").as_uri())
    at = open_page("registry", model="theirs", version="1")
    assert not at.exception
    assert "files can't be read" in at.warning[0].value
    assert "not one of ours" in tables(at)
    for tab in ("Signature", "Metrics", "Files", "Reviews", "Record", "Use it"):
        at = open_page("registry", model="theirs", version="1", tab=tab)
        assert not at.exception, tab
        assert "theirs/1" in said(at)


@pytest.mark.parametrize(
    ("query", "sentence"),
    [
        ({"model": "nothing", "version": "1"}, "There is no registered model “nothing”"),
        ({"model": "phi3", "version": "9"}, "phi3 has no version 9"),
        ({"model": "phi3", "version": "x"}, "phi3 has no version x"),
        ({"model": "![x](http://evil)", "version": "1"}, "Invalid model name"),
    ],
)
def test_a_link_to_what_is_not_there_gets_a_sentence(
    open_page: Open, register: Register, query: dict[str, str], sentence: str
) -> None:
    register()
    at = open_page("registry", **query)
    assert not at.exception
    assert sentence in said(at)
    assert "![" not in escaped(at)
    if query["model"] == "phi3":
        at.button(key="version_newest").click().run()
        assert "phi3/1" in at.title[0].value.replace("\\", "")


def test_chat_with_this_version_opens_the_chat_on_it(open_page: Open, register: Register) -> None:
    register()
    register()
    at = open_page("registry", model="phi3", version="1")
    at.button(key="registry_chat").click().run()
    assert not at.exception
    assert at.selectbox(key="chat_ref").value == "phi3/1"


def test_compare_starts_with_the_version_in_production(open_page: Open, register: Register, settings: Settings) -> None:
    for _ in range(3):
        register()
    promote(settings, "phi3/1", "Production")
    at = open_page("registry", model="phi3", version="3")
    at.button(key="registry_compare").click().run()
    assert not at.exception
    assert [at.selectbox(key=f"compare_{side}").value for side in ("left", "right")] == ["phi3/1", "phi3/3"]


def test_the_conversations_that_a_version_answered_in_are_listed_with_a_way_to_each(
    open_page: Open, register: Register, settings: Settings
) -> None:
    register()
    version = reader.get_version(settings, "phi3/1")
    asked = Turn("Where *is* it?", version.ref, answer="Here.", state="done", user="ada")
    history.save(settings, "0" * 32, asked, [{"role": "user", "content": asked.question}])
    assert history.flush(settings)
    at = open_page("registry", model="phi3", version="1", tab="Reviews")
    assert not at.exception
    assert links(at)[r"Where \*is\* it\?"] == "chat?c=" + "0" * 32
    assert "ada · just now" in said(at)


# ---------------------------------------------------------------- editing


def test_a_description_is_edited(open_page: Open, register: Register, settings: Settings) -> None:
    register()
    at = open_page("registry", model="phi3", version="1")
    at.button(key="version_describe").click().run()
    at.text_area(key="edit_description_phi3/1").set_value("A *new* one.")
    at.button(key="version_describe").click().run()
    at.button(key="version_describe").click()
    at.button(key="edit_description_save").click()
    at.run()
    assert not at.exception
    assert reader.get_version(settings, "phi3/1").description == "A *new* one."
    assert "The description of phi3/1 is saved." in said(at)
    assert "A *new* one." in said(at)


def test_tags_that_the_build_wrote_cannot_be_set_by_hand() -> None:
    import pandas as pd

    from pages.components.registry.version_edit import read

    table = pd.DataFrame({"Tag": ["team", " lang ", None, "phi3.digest"], "Value": ["a", None, "x", "0"]})
    assert read(table.iloc[:3]) == ({"team": "a", "lang": ""}, "")
    assert "phi3.digest can't be set by hand" in read(table)[1]
    twice = pd.DataFrame({"Tag": ["team", "team"], "Value": ["a", "b"]})
    assert read(twice)[1] == "There are two tags named team. Remove one."


@pytest.mark.parametrize(
    ("name", "may"),
    [
        ("viewer", {"registry_chat", "registry_compare"}),
        ("reviewer", {"registry_chat", "registry_compare", "registry_ask"}),
        (
            "releaser",
            {
                "registry_chat", "registry_compare", "registry_ask", "registry_move", "registry_aliases",
                "version_describe", "version_tags",
            },
        ),
    ],
)  # fmt: skip
def test_a_page_offers_what_the_role_may(open_page: Open, register: Register, role, name: str, may: set[str]) -> None:  # type: ignore[no-untyped-def]
    register()
    role(name)
    at = open_page("registry", model="phi3", version="1")
    assert not at.exception
    ways = {"version_all", "version_siblings"}
    offered = {b.key for b in at.button if b.key and b.key.startswith(("registry_", "version_"))} - ways
    assert offered == may


# ---------------------------------------------------------------- stores that lack something, or do not answer


def test_a_store_without_stages_or_aliases_says_what_stands_for_them(
    open_page: Open, register: Register, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    register()
    monkeypatch.setitem(client_module._abilities, settings.tracking_uri, Abilities(stages=False, aliases=True))
    at = open_page("registry", model="phi3", version="1")
    assert not at.exception
    assert "This store has no stages" in said(at)
    get_index(settings).refresh()
    assert "Archived" not in open_page("registry").selectbox(key="stage").options
    monkeypatch.setitem(client_module._abilities, settings.tracking_uri, Abilities(stages=True, aliases=False))
    st.cache_resource.clear()
    at = open_page("registry", model="phi3", version="1")
    assert not at.exception
    assert "This store has no aliases" in said(at)
    assert "registry_aliases" not in [button.key for button in at.button]


def test_a_registered_model_without_versions_is_listed_and_has_a_page(
    open_page: Open, register: Register, settings: Settings
) -> None:
    register()
    mlflow_client(settings).create_registered_model("empty-one")
    get_index(settings).refresh()
    assert rows(open_page("registry", list="Models"), "Model") == ["empty-one", "phi3"]
    assert rows(open_page("registry", list="Models", q="phi"), "Model") == ["phi3"]
    at = open_page("registry", model="empty-one", version="1")
    assert "has no version yet" in said(at)


def two_in_production(register: Register, settings: Settings) -> None:
    """phi3/1 by a promotion here, phi3/2 by somebody who set the stage at MLflow."""
    register()
    register()
    promote(settings, "phi3/1", "Production")
    mlflow_client(settings).transition_model_version_stage("phi3", "2", "Production")


def test_a_stage_that_somebody_set_at_mlflow_is_not_taken_for_the_truth(
    open_page: Open, register: Register, settings: Settings
) -> None:
    two_in_production(register, settings)
    get_index(settings).refresh()
    at = open_page("registry")
    assert "The stage of phi3/2 at MLflow is not what the aliases say" in said(at)
    at = open_page("registry", stage="Production")
    assert rows(at) == ["phi3/1"]


def test_files_that_are_not_here_are_not_taken_for_the_same_and_can_be_fetched(
    open_page: Open, register: Register, monkeypatch: pytest.MonkeyPatch
) -> None:
    register()
    register()
    fetched: list[bool] = []

    def compared(config: Settings, one: object, other: object, fetch: bool = False) -> Comparison:
        fetched.append(fetch)
        file = Difference("Files", "model.onnx", "9 bytes", "9 bytes", not fetch, unsure=not fetch)
        return Comparison((file,), (), ("", ""), ())

    monkeypatch.setattr(compare, "compare_versions", compared)
    at = open_page("registry", compare="phi3/1", **{"with": "phi3/2"})
    assert "0 of 1 differ, 1 not compared" in said(at)
    at.button(key="compare_fetch").click().run()
    assert not at.exception
    assert fetched == [False, True]
    assert "1 of 1 differs" in said(at)


# ---------------------------------------------------------------- moving


def move(at: AppTest, stage: str, reason: str = "") -> AppTest:
    """Through the dialog. A test has no fragment runs, so the dialog's own button is held open with it."""
    at.button(key="registry_move").click().run()
    at.radio(key="move_stage").set_value(stage)
    at.button(key="registry_move").click().run()
    at.text_area(key="move_reason").set_value(reason)
    at.button(key="registry_move").click().run()
    at.button(key="registry_move").click()
    at.button(key="move_confirm").click()
    return at.run()


def press_set_alias(at: AppTest, alias: str) -> AppTest:
    at.button(key="registry_aliases").click().run()
    at.text_input(key="alias_name").set_value(alias)
    at.button(key="registry_aliases").click().run()
    at.button(key="registry_aliases").click()
    at.button(key="alias_set").click()
    return at.run()


def test_moving_to_production_goes_through_promote_and_the_page_shows_what_came_of_it(
    open_page: Open, register: Register, settings: Settings
) -> None:
    register()
    register()
    promote(settings, "phi3/1", "Production")
    at = move(open_page("registry", model="phi3", version="2"), "Production", "It won the review.")
    assert not at.exception
    stages = {version.version: version.stage for version in reader.list_versions(settings, "phi3")}
    assert stages == {1: "Archived", 2: "Production"}
    assert reader.get_version(settings, "phi3/Production").version == 2
    assert "phi3/2 is now in Production." in said(at)
    assert ":green-badge[:material/verified: Production]" in said(at)
    assert search.of_model(settings, "phi3")[0].reason == "It won the review."


def test_an_alias_is_set_and_removed(open_page: Open, register: Register, settings: Settings) -> None:
    register()
    at = set_alias(open_page("registry", model="phi3", version="1"), "@champion")
    assert "@champion now points at phi3/1." in said(at)
    assert reader.get_version(settings, "phi3@champion").version == 1
    assert ":blue-badge[@champion]" in said(at)


# ---------------------------------------------------------------- what was changed outside this app


def test_a_stage_that_was_changed_outside_is_repaired_by_the_look_and_told(
    open_page: Open, register: Register, settings: Settings
) -> None:
    two_in_production(register, settings)
    at = open_page("registry", model="phi3", version="2")
    assert not at.exception
    assert at.info
    assert "phi3/2" in re.sub(r"\\(.)", r"\1", at.info[0].value)
    stages = {version.version: version.stage for version in reader.list_versions(settings, "phi3")}
    assert stages[1] == "Production"
    assert stages[2] != "Production"


def test_stages_that_agree_with_their_aliases_raise_no_warning(
    open_page: Open, register: Register, settings: Settings
) -> None:
    register()
    promote(settings, "phi3/1", "Production")
    at = open_page("registry", model="phi3", version="1")
    assert not at.warning
    assert not at.info
