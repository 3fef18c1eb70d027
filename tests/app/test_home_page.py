"""Home: where things stand, and what to do next."""

from __future__ import annotations

from phi3core.promotion.promote import promote, set_alias
from phi3core.settings import Settings
from tests.app.builds import past_build
from tests.app.conftest import Open, Register, links, said


def test_an_empty_registry_says_what_to_do_first(open_page: Open, settings: Settings) -> None:
    at = open_page("home")
    assert not at.exception
    assert at.title[0].value == "Phi-3 Playground"
    assert "Build your first version" in said(at)
    assert links(at)["Build the embedded model"] == "build"
    assert "No builds yet" in said(at)
    assert str(settings.home / "mlflow.db") in said(at)
    assert "0 registered models" in said(at)


def test_versions_without_production_lead_to_chat_and_registry(open_page: Open, register: Register) -> None:
    register()
    at = open_page("home")
    assert "Nothing is in Production yet" in said(at)
    assert links(at) == {"Talk to a version": "chat", "Promote one": "registry"}
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
    shown = said(at)
    assert "**phi3/1**" in shown
    assert "**phi3/2**" not in shown
    assert "@champion" in shown
    assert "int4" in shown
    assert "117 MB" in shown
    assert "123 tokens/s" in shown
    assert links(at)["Chat"] == "chat?ref=phi3%2FProduction"
    assert links(at)["Details"] == "registry?model=phi3&version=1"


def test_recent_builds_are_listed_newest_first_with_how_they_ended(open_page: Open, settings: Settings) -> None:
    past_build(settings, "FINISHED", name="first", version=1)
    past_build(settings, "FAILED", name="second", reason="The disk is full.")
    at = open_page("home")
    lines = [m.value for m in at.markdown if "from `" in m.value]
    assert "**second**" in lines[0]
    assert "failed" in lines[0]
    assert "**first/1**" in lines[1]
    assert "built" in lines[1]
    assert links(at)["All builds"] == "build"


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
    assert "**phi3/1**" in said(at)
    promote(settings, "phi3/2", "Production")  # what the page has read of the registry is a moment old
    at.run()
    assert not at.exception
    assert not at.error
    assert "**phi3/2**" in said(at)
    assert "**phi3/1**" not in said(at)


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
