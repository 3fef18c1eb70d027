"""Registry: what is changed on a version's page, by whom."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from streamlit.testing.v1 import AppTest

from phi3core.promotion.promote import promote
from phi3core.promotion.record import search
from phi3core.registry import reader
from phi3core.settings import Settings
from phi3core.store.client import mlflow_client
from tests.app.conftest import Open, Register
from tests.app.dialogs import press
from tests.app.registry import said


@pytest.fixture
def role(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[object]:
    """Give whoever sits here a role."""

    def give(name: str) -> None:
        monkeypatch.setenv("PHI3_USER", "eve@example.org")
        settings.secrets.write_text(f'[roles]\n{name} = ["eve@example.org"]\n')

    yield give
    settings.secrets.unlink(missing_ok=True)


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
                "version_describe", "version_measure", "version_tags",
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
    at = press_set_alias(open_page("registry", model="phi3", version="1"), "@champion")
    assert "@champion now points at phi3/1." in said(at)
    assert reader.get_version(settings, "phi3@champion").version == 1
    assert ":blue-badge[@champion]" in said(at)


def test_what_mlflows_stages_alone_say_is_shown_and_adopted(
    open_page: Open, register: Register, settings: Settings
) -> None:
    register()
    register()
    for number in ("1", "2"):
        mlflow_client(settings).transition_model_version_stage("phi3", number, "Production")
    at = open_page("registry", model="phi3", version="1")
    assert "MLflow’s stages alone put **phi3/2** in Production" in said(at)
    assert ":red-badge[:material/warning: MLflow: Production]" in said(at)
    at = press(at, "registry_adopt", "adopt_confirm", adopt_reason="The nightly script said so.")
    assert not at.exception
    assert "phi3/2 is in Production, by its alias." in said(at)
    assert "MLflow’s stages alone" not in said(at)
    assert at.session_state["registry_may_redraw"]  # by itself, where the store is slower than the page waits
    record = next(r for r in search.of_model(settings, "phi3") if r.action == "promote")
    assert (record.ref, record.new, record.reason) == ("phi3/2", "Production", "The nightly script said so.")
