"""The dialog that moves a version: what it says before, what it does, and what becomes of a typed reason."""

from __future__ import annotations

from pathlib import Path

import pytest

from pages.components.registry import move_dialog
from pages.components.shared import reads
from phi3core.promotion.policy import policy, requests
from phi3core.promotion.policy.policy import Policy
from phi3core.promotion.promote import promote
from phi3core.promotion.record import search
from phi3core.registry import reader
from phi3core.settings import Settings
from phi3core.store.client import mlflow_client
from tests.app.conftest import Register
from tests.app.dialogs import ANN, RAY, RUTH, VERA, become, opened, plain, stages, warned
from tests.support.fakes import sign

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
    reads.invalidate()
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
    monkeypatch.setattr(move_dialog, "promote", lost)
    at.button(key="move_confirm").click().run()
    assert "phi3/3 came first" in warned(at)
    assert at.text_area(key="move_reason").value == "A reason that took long to write"


def test_a_move_that_breaks_programs_says_so_and_asks_for_a_second_yes(register: Register, settings: Settings) -> None:
    register(), register()
    promote(settings, "phi3/1", "Production")
    sign(Path(reader.get_version(settings, "phi3/2").source.removeprefix("file://")), "messages")
    at = opened("move", 2)
    assert "Programs that call phi3/1 break on phi3/2.** “messages” must be sent" in plain(at)
    at.button(key="move_confirm").click().run()
    assert "Tick that it moves all the same" in warned(at)
    assert stages(settings) == {1: "Production", 2: "None"}
    at.checkbox(key="move_break_phi3/2_Production").check().run()
    at.button(key="move_confirm").click().run()
    assert stages(settings) == {1: "Archived", 2: "Production"}


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
