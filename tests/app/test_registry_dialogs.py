"""The dialogs for aliases, rolling back, deleting, and asking for a promotion."""

from __future__ import annotations

from pathlib import Path

import pytest

from phi3core.promotion.policy import requests
from phi3core.promotion.promote import promote, set_alias
from phi3core.promotion.record import search
from phi3core.registry import reader
from phi3core.settings import Settings
from tests.app.conftest import Register
from tests.app.dialogs import ANN, RAY, RUTH, become, opened, plain, stages, warned
from tests.app.talks import shown
from tests.support.judging import folder_of, version_with_files

# ---------------------------------------------------------------- aliases


def test_an_alias_says_whom_it_leaves_and_is_set_and_removed(register: Register, settings: Settings) -> None:
    register(), register()
    set_alias(settings, "phi3/1", "champion")
    at = opened("aliases", 2)
    at.text_input(key="alias_name").set_value("@champion").run()
    assert "`@champion` leaves phi3/1 and points at phi3/2 from then on" in plain(at)
    at.button(key="alias_set").click().run()
    assert reader.get_version(settings, "phi3@champion").version == 2
    at.button(key="alias_remove_champion").click().run()
    assert reader.get_version(settings, "phi3/2").aliases == ()


@pytest.mark.parametrize("alias", ["production", "Staging", "latest", "v3", "no spaces"])
def test_a_reserved_or_impossible_alias_is_refused_with_a_sentence(
    register: Register, settings: Settings, alias: str
) -> None:
    register()
    at = opened("aliases", 1)
    at.text_input(key="alias_name").set_value(alias).run()
    at.button(key="alias_set").click().run()
    assert not at.exception
    assert "reserved" in warned(at) or "is made of" in warned(at)
    assert reader.list_versions(settings, "phi3")[0].aliases == ()


# ---------------------------------------------------------------- back, and away


def test_a_rollback_names_the_previous_production_and_wants_a_reason(register: Register, settings: Settings) -> None:
    register(), register()
    promote(settings, "phi3/1", "Production")
    promote(settings, "phi3/2", "Production")
    at = opened("rollback", 2)
    assert "**phi3/1** was in" in plain(at)
    assert "phi3/2** leaves Production: it becomes" in plain(at)
    at.button(key="rollback_confirm").click().run()
    assert "Say why" in warned(at)
    assert stages(settings) == {1: "Archived", 2: "Production"}
    at.text_area(key="rollback_reason").set_value("It loops.").run()
    at.button(key="rollback_confirm").click().run()
    assert not at.exception
    assert stages(settings) == {1: "Production", 2: "Archived"}
    newest = search.of_model(settings, "phi3")[0]
    assert (newest.action, newest.reason) == ("roll back", "It loops.")
    assert "phi3/1 is in Production again" in plain(at)


def test_a_rollback_over_changed_files_is_told_and_left_to_an_admin(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for version in (version_with_files(settings, tmp_path), version_with_files(settings, tmp_path)):
        promote(settings, version.ref, "Production")
    (folder_of(reader.get_version(settings, "phi3/1")) / "requirements.txt").write_text("else\n")
    become(RUTH, settings, monkeypatch)
    at = opened("rollback", 2)
    assert "are not those that were in Production" in warned(at)
    assert not at.checkbox
    at.text_area(key="rollback_reason").set_value("It loops.").run()
    at.button(key="rollback_confirm").click().run()
    assert "an admin can roll back to it all the same" in str(shown(at.error[0].value))
    assert stages(settings) == {1: "Archived", 2: "Production"}

    become(ANN, settings, monkeypatch)
    at = opened("rollback", 2)
    at.text_area(key="rollback_reason").set_value("It loops.").run()
    at.checkbox(key="rollback_override").check().run()
    at.button(key="rollback_confirm").click().run()
    assert not at.exception
    assert stages(settings) == {1: "Production", 2: "Archived"}
    assert search.of_model(settings, "phi3")[0].override == "It loops."


def test_without_an_earlier_production_there_is_nothing_to_go_back_to(register: Register, settings: Settings) -> None:
    register()
    promote(settings, "phi3/1", "Production")
    at = opened("rollback", 1)
    assert "no earlier Production" in plain(at)
    assert not at.button


@pytest.mark.parametrize("why", ["Production", "Staging", "alias", "request"])
def test_deleting_what_is_needed_is_refused_with_the_reason_and_archiving_is_offered(
    register: Register, settings: Settings, why: str
) -> None:
    register()
    if why == "alias":
        set_alias(settings, "phi3/1", "champion")
    elif why == "request":
        requests.ask(settings, "phi3/1", "Production", "It is good", RAY)
    else:
        promote(settings, "phi3/1", why)
    at = opened("delete", 1)
    sentence = {"alias": "has the alias @champion", "request": "is under review"}.get(why, f"is in {why}")
    assert sentence in warned(at)
    assert [button.key for button in at.button] == ["delete_archive"]
    at.button(key="delete_archive").click().run()
    assert not at.exception
    assert stages(settings) == {1: "Archived"}


def test_deleting_is_asked_twice_and_recorded(register: Register, settings: Settings) -> None:
    register(), register()
    at = opened("delete", 1)
    at.text_area(key="delete_reason").set_value("Built by mistake").run()
    at.text_input(key="delete_typed").set_value("phi3/2").run()
    at.button(key="delete_confirm").click().run()
    assert "Type phi3/1 above" in warned(at)
    assert set(stages(settings)) == {1, 2}
    at.text_input(key="delete_typed").set_value("phi3/1").run()
    at.button(key="delete_confirm").click().run()
    assert set(stages(settings)) == {2}
    newest = search.of_model(settings, "phi3")[0]
    assert (newest.action, newest.version, newest.reason) == ("delete", 1, "Built by mistake")


def test_deleting_without_a_reason_is_refused(register: Register, settings: Settings) -> None:
    register()
    at = opened("delete", 1)
    at.text_input(key="delete_typed").set_value("phi3/1").run()
    at.button(key="delete_confirm").click().run()
    assert "Say why" in warned(at)
    assert set(stages(settings)) == {1}


# ---------------------------------------------------------------- asking


def test_asking_moves_nothing_and_the_request_waits(
    register: Register, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    register()
    become(RAY, settings, monkeypatch)
    at = opened("ask", 1)
    assert "Nothing moves now" in plain(at)
    at.text_area(key="ask_reason").set_value("It wins.").run()
    at.button(key="ask_confirm").click().run()
    assert not at.exception
    (waiting,) = requests.waiting(settings)
    assert (waiting.ref, waiting.stage, waiting.by, waiting.reason) == ("phi3/1", "Production", RAY.name, "It wins.")
    assert stages(settings) == {1: "None"}


def test_asking_without_a_reason_gets_the_cores_sentence(register: Register, settings: Settings) -> None:
    register()
    at = opened("ask", 1)
    at.button(key="ask_confirm").click().run()
    assert "Say why it should be promoted" in warned(at)
    assert requests.waiting(settings) == []
