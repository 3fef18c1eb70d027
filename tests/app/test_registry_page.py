"""Registry: what is listed, what is told of a version, and what moves."""

from __future__ import annotations

import pytest
from streamlit.testing.v1 import AppTest

from phi3core import promotion, registry
from phi3core.settings import Settings

from .. import fakes
from .conftest import Open, Register, links, said


def move(at: AppTest, stage: str, reason: str = "") -> AppTest:
    """Through the dialog. A test has no fragment runs, so the dialog's own button is held open with it."""
    at.button(key="registry_move").click().run()
    at.radio(key="move_stage").set_value(stage)
    at.text_input(key="move_reason").set_value(reason)
    at.button(key="registry_move").click()
    at.button(key="move_confirm").click()
    return at.run()


def set_alias(at: AppTest, alias: str) -> AppTest:
    at.button(key="registry_aliases").click().run()
    at.text_input(key="alias_name").set_value(alias)
    at.button(key="registry_aliases").click().run()
    at.button(key="registry_aliases").click()
    at.button(key="alias_set").click()
    return at.run()


def test_an_empty_registry_leads_to_the_build_page(open_page: Open) -> None:
    at = open_page("registry")
    assert not at.exception
    assert "The registry is empty" in said(at)
    assert links(at) == {"Build a version": "build"}


def test_versions_are_listed_newest_first_with_what_tells_them_apart(
    open_page: Open, register: Register, settings: Settings
) -> None:
    register(wrapper="transformers")
    register(wrapper="onnx")
    promotion.promote(settings, "phi3/1", "Production")
    promotion.set_alias(settings, "phi3/2", "champion")
    at = open_page("registry")
    assert not at.exception
    table = at.dataframe[0].value
    assert list(table["Version"]) == ["phi3/2", "phi3/1"]
    assert [list(stage) for stage in table["Stage"]] == [["None"], ["Production"]]
    assert [list(aliases) for aliases in table["Aliases"]] == [["@champion"], []]
    assert list(table["Wrapper"]) == ["onnx", "transformers"]
    assert list(table["Precision"]) == ["int4", "bfloat16"]
    assert list(table["Size, MB"]) == [117.0, 117.0]
    assert list(table["Tokens/s"]) == [123.4, 123.4]


def test_a_versions_detail_tells_signature_tags_and_figures(open_page: Open, register: Register) -> None:
    register()
    at = open_page("registry", model="phi3", version="1")
    figures = {metric.label: metric.value for metric in at.metric}
    assert figures["Speed"] == "123 tokens/s"
    assert figures["First token"] == "41 ms"
    assert figures["Size"] == "117 MB"
    shown = said(at)
    assert "`prompt: string" in shown
    assert "temperature: double = 0.4" in shown
    tables = "\n".join(table.value.to_string() for table in at.table)
    assert "apache-2.0" in tables
    assert "embedded" in tables
    assert "tokens_per_second" in tables


def test_a_version_that_is_not_ours_and_whose_files_are_gone_is_shown_all_the_same(
    open_page: Open, settings: Settings, tmp_path
) -> None:  # type: ignore[no-untyped-def]
    fakes.register(settings, "theirs", (tmp_path / "gone").as_uri())
    at = open_page("registry")
    assert not at.exception
    assert "files can't be read" in at.warning[0].value
    assert "not one of ours" in "\n".join(table.value.to_string() for table in at.table)


def test_a_link_opens_the_version_it_names(open_page: Open, register: Register) -> None:
    for _ in range(3):
        register()
    register("other")
    at = open_page("registry", model="phi3", version="2")
    assert at.selectbox(key="registry_model").value == "phi3"
    assert at.subheader[0].value.startswith("phi3/2 ")


@pytest.mark.parametrize(
    ("query", "sentence"),
    [
        ({"model": "nothing"}, "There is no registered model “nothing”"),
        ({"model": "phi3", "version": "9"}, "phi3 has no version 9"),
        ({"model": "phi3", "version": "x"}, "phi3 has no version x"),
    ],
)
def test_a_link_to_what_is_not_there_gets_a_sentence(
    open_page: Open, register: Register, query: dict[str, str], sentence: str
) -> None:
    register()
    at = open_page("registry", **query)
    assert not at.exception
    assert sentence in at.warning[0].value
    assert at.subheader[0].value.startswith("phi3/1 ")


# ---------------------------------------------------------------- moving


def test_moving_to_production_goes_through_promote_and_leaves_exactly_one_there(
    open_page: Open, register: Register, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    register()
    register()
    promotion.promote(settings, "phi3/1", "Production")
    calls = []
    real = promotion.promote
    monkeypatch.setattr(promotion, "promote", lambda *args, **more: (calls.append(args), real(*args, **more))[1])
    at = move(open_page("registry", model="phi3", version="2"), "Production", "It won the review.")
    assert not at.exception
    assert calls == [(settings, "phi3/2", "Production", "It won the review.")]
    stages = {version.version: version.stage for version in registry.versions(settings, "phi3")}
    assert stages == {1: "Archived", 2: "Production"}
    assert registry.resolve(settings, "phi3/Production").version == 2
    assert at.success[0].value == "phi3/2 is now in Production."
    assert [list(stage) for stage in at.dataframe[0].value["Stage"]] == [["Production"], ["Archived"]]


def test_the_dialog_says_what_will_happen_before_it_does(
    open_page: Open, register: Register, settings: Settings
) -> None:
    register()
    register()
    promotion.promote(settings, "phi3/1", "Production")
    at = open_page("registry", model="phi3", version="2")
    at.button(key="registry_move").click().run()
    assert at.radio(key="move_stage").options == ["Production", "Staging", "Archived"]
    assert "phi3/1, in Production now, is archived" in said(at)
    assert "phi3/Production and @production mean phi3/2 from then on" in said(at)
    assert registry.resolve(settings, "phi3/Production").version == 1


def test_a_move_that_is_refused_says_why_and_changes_nothing(
    open_page: Open, register: Register, settings: Settings
) -> None:
    from phi3core.store import client

    register()
    at = open_page("registry")
    at.button(key="registry_move").click().run()
    client(settings).delete_model_version("phi3", "1")  # somebody else was faster
    at.button(key="registry_move").click()
    at.button(key="move_confirm").click()
    at.run()
    assert not at.exception
    assert "phi3 has no version 1" in "\n".join(error.value for error in at.error)


def test_an_alias_is_set_and_removed(open_page: Open, register: Register, settings: Settings) -> None:
    register()
    at = set_alias(open_page("registry"), "@champion")
    assert at.success[0].value == "@champion now points at phi3/1."
    assert registry.resolve(settings, "phi3@champion").version == 1
    at.button(key="registry_aliases").click().run()
    at.button(key="registry_aliases").click()
    at.button(key="alias_remove_champion").click()
    at.run()
    assert at.success[0].value == "@champion is removed."
    assert registry.versions(settings, "phi3")[0].aliases == ()


@pytest.mark.parametrize("alias", ["production", "Staging", "latest", "v3", "no spaces"])
def test_a_reserved_or_impossible_alias_is_refused_with_a_sentence(
    open_page: Open, register: Register, settings: Settings, alias: str
) -> None:
    register()
    at = set_alias(open_page("registry"), alias)
    assert not at.exception
    assert "reserved" in at.error[0].value or "is made of" in at.error[0].value
    assert registry.versions(settings, "phi3")[0].aliases == ()


def test_chat_with_this_version_opens_the_chat_on_it(open_page: Open, register: Register) -> None:
    register()
    register()
    at = open_page("registry", model="phi3", version="1")
    at.button(key="registry_chat").click().run()
    assert not at.exception
    assert at.selectbox(key="chat_ref").value == "phi3/1"


# ---------------------------------------------------------------- what was changed outside this app


def test_a_stage_without_its_alias_is_told_and_moving_there_repairs_it(
    open_page: Open, register: Register, settings: Settings
) -> None:
    from phi3core.store import client

    register()
    client(settings).transition_model_version_stage("phi3", "1", "Production")
    at = open_page("registry")
    assert not at.exception
    assert "phi3/1 has the stage Production but not the alias @production" in at.warning[0].value
    at.button(key="registry_move").click().run()
    assert "Production" in at.radio(key="move_stage").options
    move(at, "Production")
    assert not at.exception
    assert registry.resolve(settings, "phi3/Production").version == 1
    assert not at.warning


def test_an_alias_without_its_stage_is_told_and_moving_there_repairs_it(
    open_page: Open, register: Register, settings: Settings
) -> None:
    from phi3core.store import client

    register()
    promotion.promote(settings, "phi3/1", "Production")
    client(settings).transition_model_version_stage("phi3", "1", "Staging")
    at = open_page("registry")
    assert "phi3/1 has the alias @production but the stage Staging" in at.warning[0].value
    at.button(key="registry_move").click().run()
    assert {"Production", "Staging"} <= set(at.radio(key="move_stage").options)
    move(at, "Production")
    assert [(v.stage, v.aliases) for v in registry.versions(settings, "phi3")] == [("Production", ("production",))]
    assert not at.warning


def test_stages_that_agree_with_their_aliases_raise_no_warning(
    open_page: Open, register: Register, settings: Settings
) -> None:
    register()
    promotion.promote(settings, "phi3/1", "Production")
    at = open_page("registry")
    assert not at.warning
    at.button(key="registry_move").click().run()
    assert "Production" not in at.radio(key="move_stage").options
