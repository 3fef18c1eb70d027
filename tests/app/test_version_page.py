"""Registry: a version's page and its tabs."""

from __future__ import annotations

import re
import time
from pathlib import Path

import pytest
import streamlit as st

from phi3core import tags
from phi3core.access.roles import Person
from phi3core.chat import history
from phi3core.promotion.policy import requests
from phi3core.promotion.promote import promote, set_alias
from phi3core.registry import reader
from phi3core.settings import Settings
from phi3core.store.client import mlflow_client
from phi3core.traces.turn import Turn
from tests.app.conftest import Open, Register, links
from tests.app.conftest import said as escaped
from tests.app.registry import ADA, code, rows, said, tables
from tests.app.talks import shown
from tests.support import fakes


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
        ("Benchmarks", "No benchmark has been run on this version yet."),
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
    assert "files can't be read" in shown(at.warning[0].value)
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
