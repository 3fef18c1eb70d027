"""The dialogs that move a version: what each says before, what it does, and what becomes of a typed reason."""

from __future__ import annotations

from pathlib import Path

import pytest

from pages.components.registry import move_dialogs
from phi3core.promotion.policy import policy, requests
from phi3core.promotion.policy.policy import Policy
from phi3core.promotion.promote import promote, set_alias
from phi3core.promotion.record import search
from phi3core.registry import reader
from phi3core.settings import Settings
from phi3core.store.client import mlflow_client
from tests.app.conftest import Register
from tests.app.dialogs import ANN, RAY, RUTH, VERA, become, opened, plain, warned
from tests.support.judging import folder_of, version_with_files


def stages(settings: Settings) -> dict[int, str]:
    return {version.version: version.stage for version in reader.list_versions(settings, "phi3")}


# ---------------------------------------------------------------- moving


def test_it_says_who_leaves_what_it_becomes_and_what_moves_and_changes_nothing(
    register: Register, settings: Settings
) -> None:
    register(), register()
    promote(settings, "phi3/1", "Production")
    before = search.of_model(settings, "phi3")
    at = opened("move", 2)
    assert at.radio(key="move_stage").options == ["Production", "Staging", "Archived"]
    assert "phi3/1** leaves Production: it becomes" in plain(at)
    assert "Archived] and loses `@production`" in plain(at)
    assert "gets `@production`" in plain(at)
    assert "phi3/Production and `@production` mean phi3/2 from then on" in plain(at)
    assert stages(settings) == {1: "Production", 2: "None"}
    assert search.of_model(settings, "phi3") == before


def test_the_move_is_what_was_said_and_its_reason_is_on_record(register: Register, settings: Settings) -> None:
    register(), register()
    promote(settings, "phi3/1", "Production")
    at = opened("move", 2)
    at.text_area(key="move_reason").set_value("It won the review.").run()
    at.button(key="move_confirm").click().run()
    assert not at.exception
    assert "phi3/2 is now in Production. phi3/1 was archived." in plain(at)
    assert stages(settings) == {1: "Archived", 2: "Production"}
    newest = search.of_model(settings, "phi3")[0]
    assert (newest.new, newest.replaced, newest.replaced_to, newest.reason) == (
        "Production",
        "phi3/1",
        "Archived",
        "It won the review.",
    )
    assert at.text_area(key="move_reason").value == "", "the next move has a reason of its own"


def test_what_the_old_one_becomes_is_a_choice(register: Register, settings: Settings) -> None:
    register(), register()
    promote(settings, "phi3/1", "Production")
    at = opened("move", 2)
    at.button_group(key="move_old").set_value("None").run()
    assert "phi3/1** leaves Production: it becomes :gray[◌ None]" in plain(at)
    at.button(key="move_confirm").click().run()
    assert stages(settings) == {1: "None", 2: "Production"}
    assert "phi3/1 is in no stage now" in plain(at)


def test_leaving_a_stage_empty_is_told(register: Register, settings: Settings) -> None:
    register()
    promote(settings, "phi3/1", "Production")
    at = opened("move", 1, "Archived")
    assert at.radio(key="move_stage").value == "Archived"
    assert "No version is in Production any more" in plain(at)


def test_what_changed_meanwhile_is_shown_before_it_is_done(register: Register, settings: Settings) -> None:
    for _ in range(3):
        register()
    promote(settings, "phi3/1", "Production")
    at = opened("move", 2)
    at.text_area(key="move_reason").set_value("It won.").run()
    promote(settings, "phi3/3", "Production")  # somebody else, while the dialog is open
    _forget()
    at.button(key="move_confirm").click().run()
    assert "The registry changed while this was open" in warned(at)
    assert "phi3/3** leaves Production" in plain(at)
    assert stages(settings) == {1: "Archived", 2: "None", 3: "Production"}
    assert at.text_area(key="move_reason").value == "It won."
    at.button(key="move_confirm").click().run()
    assert stages(settings) == {1: "Archived", 2: "Production", 3: "Archived"}


def test_a_conflict_is_told_and_the_reason_is_still_there(
    register: Register, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    from phi3core.errors import Conflict

    def lost(*_: object, **__: object) -> None:
        raise Conflict("phi3/3 came first.")

    register(), register()
    at = opened("move", 2)
    at.text_area(key="move_reason").set_value("A reason that took long to write").run()
    monkeypatch.setattr(move_dialogs, "promote", lost)
    at.button(key="move_confirm").click().run()
    assert "phi3/3 came first" in warned(at)
    assert at.text_area(key="move_reason").value == "A reason that took long to write"


def test_a_version_that_is_gone_gets_a_sentence(register: Register, settings: Settings) -> None:
    register(), register()
    at = opened("move", 2)
    mlflow_client(settings).delete_model_version("phi3", "2")
    at.button(key="move_confirm").click().run()
    assert not at.exception
    assert "phi3 has no version 2" in warned(at)


def test_a_viewer_is_refused_by_the_core_whatever_the_page_shows(
    register: Register, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    register()
    become(VERA, settings, monkeypatch)
    at = opened("move", 1)
    at.button(key="move_confirm").click().run()
    assert "needs the role releaser, and vera@example.org is a viewer" in warned(at)
    assert stages(settings) == {1: "None"}


# ---------------------------------------------------------------- the policy


@pytest.fixture
def strict(register: Register, settings: Settings) -> None:
    """phi3/1, whose Production needs an approval that it has not."""
    register()
    policy.write(settings, "phi3", "Production", Policy(approvals=1), ANN)


@pytest.mark.usefixtures("strict")
def test_the_policy_is_a_checklist_and_blocks_who_is_no_admin(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    become(RUTH, settings, monkeypatch)
    at = opened("move", 1)
    assert "What Production needs" in plain(at)
    assert "0 of 1 met" in plain(at)
    assert ":red[:material/cancel:] **approvals**" in plain(at)
    assert at.button(key="move_confirm").disabled
    assert "Only an admin can go on" in plain(at)
    at.radio(key="move_stage").set_value("Staging").run()
    assert not at.button(key="move_confirm").disabled, "Staging has no policy"


@pytest.mark.usefixtures("strict")
def test_an_admin_goes_on_only_with_a_reason_which_is_recorded(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    become(ANN, settings, monkeypatch)
    at = opened("move", 1)
    at.button(key="move_confirm").click().run()
    assert "Say why it moves although the policy is not met" in warned(at)
    assert stages(settings) == {1: "None"}
    at.text_area(key="move_override").set_value("The old one is down.").run()
    assert at.button(key="move_confirm").label == "Move to Production against the policy"
    at.button(key="move_confirm").click().run()
    assert stages(settings) == {1: "Production"}
    newest = search.of_model(settings, "phi3")[0]
    assert (newest.override, newest.user, newest.role) == ("The old one is down.", ANN.name, "admin")
    assert [check["met"] for check in newest.checks] == [False]


@pytest.mark.usefixtures("strict")
def test_what_is_approved_moves_without_more_ado_and_ends_the_request(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = requests.ask(settings, "phi3/1", "Production", "It is good", RAY)
    requests.decide(settings, asked.id, "approve", "Indeed", ANN)
    become(RUTH, settings, monkeypatch)
    at = opened("move", 1, "Production", asked.id)
    assert "1 of 1 met" in plain(at)
    at.button(key="move_confirm").click().run()
    assert not at.exception
    assert stages(settings) == {1: "Production"}
    assert requests.get(settings, asked.id).status == "promoted"


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
    assert "an admin can roll back to it all the same" in str(at.error[0].value)
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


def _forget() -> None:
    from pages.components.shared import ui

    ui.forget()
