"""Home: where things stand, and what to do next."""

from __future__ import annotations

import getpass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from pages.components.shared import ui
from phi3core.promotion.policy import requests
from phi3core.promotion.promote import promote, set_alias
from phi3core.promotion.record import search
from phi3core.settings import Settings
from phi3core.traces import use
from tests.app.builds import past_build
from tests.app.conftest import Open, Register, links, said
from tests.app.dialogs import RAY, RUTH, VERA, become, keys_of, plain
from tests.app.talks import shown
from tests.support.judging import answered, kept, version_with_files


def test_an_empty_registry_says_what_to_do_first(open_page: Open, settings: Settings) -> None:
    at = open_page("home")
    assert not at.exception
    assert at.title[0].value == "Phi-3 Playground"
    assert "Build your first version" in shown(said(at))
    assert "home_build" in keys_of(at)
    assert "No builds yet" in shown(said(at))
    assert str(settings.home / "mlflow.db") in shown(said(at))
    assert "0 registered models" in shown(said(at))


def test_versions_without_production_lead_to_chat_and_registry(open_page: Open, register: Register) -> None:
    register()
    at = open_page("home")
    assert "Nothing is in Production yet" in said(at)
    assert {"home_talk", "home_promote"} <= keys_of(at)
    assert "In Production" not in [heading.value for heading in at.subheader]


def test_what_is_in_production_is_shown_with_its_figures_and_ways_to_it(
    open_page: Open, register: Register, settings: Settings
) -> None:
    register()
    register(wrapper="transformers")
    promote(settings, "phi3/1", "Production")
    set_alias(settings, "phi3/1", "champion")
    at = open_page("home")
    assert not at.exception
    assert "In Production" in [heading.value for heading in at.subheader]
    told = shown(said(at))
    assert "**phi3/1**" in told
    assert "**phi3/2**" not in told
    assert "@champion" in told
    assert "int4" in told
    assert "117 MB" in told
    assert "123 tokens/s" in told
    assert [ui.speed(value) for value in (9.6, 0.2815)] == ["9.6 tokens/s", "0.28 tokens/s"]
    assert f"moved there just now by {getpass.getuser()}" in told
    at.button(key="home_details_phi3").click().run()
    assert at.title[0].value.replace("\\", "") == "phi3/1"
    at = open_page("home")
    at.button(key="home_chat_phi3").click().run()
    assert at.selectbox(key="chat_ref").value == "phi3/Production"


def test_since_when_a_version_is_in_production_is_told_however_much_was_done_since(
    open_page: Open, register: Register, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    register()
    promote(settings, "phi3/1", "Production", person=RUTH)
    read = search.page

    def page(config: Settings, **which: Any) -> search.Page:
        """The newest records of all models tell of other things."""
        return read(config, **which) if which.get("model") else search.Page((), None)

    monkeypatch.setattr(search, "page", page)

    assert "moved there just now by ruth@example.org" in plain(open_page("home"))


def test_recent_builds_are_listed_newest_first_with_how_they_ended(open_page: Open, settings: Settings) -> None:
    past_build(settings, "FINISHED", name="first", version=1)
    past_build(settings, "FAILED", name="second", reason="The disk is full.")
    at = open_page("home")
    lines = [shown(m.value) for m in at.markdown if "from `" in m.value]
    assert "**second**" in lines[0]
    assert "failed" in lines[0]
    assert "**first/1**" in lines[1]
    assert "built" in lines[1]
    assert links(at)["All builds"] == "build"


def test_failed_builds_are_one_line(open_page: Open, settings: Settings) -> None:
    for number in range(3):
        past_build(settings, "FAILED", name=f"failed-{number}", reason="The disk is full.")
    lines = [m.value for m in open_page("home").markdown if "from `" in m.value]
    assert len(lines) == 1
    assert "and 2 more before it" in lines[0]


def test_what_waits_for_the_visitor_comes_first_and_what_changed_is_told(
    open_page: Open, register: Register, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    register()
    promote(settings, "phi3/1", "Staging", person=RUTH)
    asked = requests.ask(settings, "phi3/1", "Production", "It won.", RAY)
    become(RUTH, settings, monkeypatch)
    at = open_page("home")
    assert at.subheader[0].value == "Waits for you · 1"
    assert "It won." in plain(at)
    assert "phi3/1: promote, None → Staging" in plain(at)
    at.button(key=f"home_decide_{asked.id}").click().run()
    assert at.title[0].value == "Promotions"
    become(VERA, settings, monkeypatch)
    assert "Waits for you" not in plain(open_page("home"))


def test_answers_are_counted_by_day_and_version(settings: Settings, tmp_path: Path) -> None:
    version = version_with_files(settings, tmp_path)
    kept(settings, answered(version), answered(version))
    assert list(use.count_answers(settings).items()) == [((datetime.now(UTC).date(), version.ref), 2)]


def test_the_demo_model_is_named_as_the_stand_in_it_is(open_page: Open, register: Register) -> None:
    register("phi3-embedded")
    assert "phi3-embedded is not Phi-3" in said(open_page("home"))


def test_a_promotion_made_elsewhere_is_shown_at_the_next_look(
    open_page: Open, register: Register, settings: Settings
) -> None:
    register()
    register()
    promote(settings, "phi3/1", "Production")
    at = open_page("home")
    assert "**phi3/1**" in shown(said(at))
    promote(settings, "phi3/2", "Production")  # what the page has read of the registry is a moment old
    at.run()
    assert not at.exception
    assert not at.error
    assert "**phi3/2**" in shown(said(at))
    assert "**phi3/1**" not in shown(said(at))


def test_a_version_taken_out_of_production_elsewhere_breaks_nothing(
    open_page: Open, register: Register, settings: Settings
) -> None:
    register()
    promote(settings, "phi3/1", "Production")
    at = open_page("home")
    promote(settings, "phi3/1", "None")
    at.run()
    assert not at.exception
    assert "Recent builds" in [heading.value for heading in at.subheader]
