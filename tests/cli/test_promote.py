"""phi3 promote, rollback and delete."""

from __future__ import annotations

import json
from pathlib import Path

from phi3core.promotion.record import search
from phi3core.registry import reader
from phi3core.settings import Settings
from phi3core.store.client import mlflow_client
from tests.cli.commands import done, refused, run, stages
from tests.support import fakes


def test_promote_moves_says_what_it_did_and_prints_json(settings: Settings) -> None:
    for _ in range(2):
        fakes.register(settings, "phi3")
    assert run("promote", "phi3/1", "--stage", "Production").output == "phi3/1 is now in Production.\n"
    assert run("promote", "phi3/2", "--stage", "Production").output == (
        "phi3/2 is now in Production. phi3/1 was archived.\n"
    )
    told = json.loads(run("promote", "phi3/2", "--alias", "champion", "--json").stdout)
    assert (told["ref"], told["aliases"]) == ("phi3/2", ["champion", "production"])
    assert run("promote", "phi3@champion", "--remove-alias", "champion").output == "@champion is removed from phi3.\n"
    assert reader.get_version(settings, "phi3/Production").aliases == ("production",)


def test_what_the_old_one_becomes_is_said_and_recorded(phi3: Settings) -> None:
    done("promote", "phi3/1", "--stage", "production")
    told = done("promote", "phi3/2", "--stage", "production", "--old", "none", "--reason", "Faster")
    assert told == "phi3/2 is now in Production. phi3/1 is in no stage now.\n"
    assert stages(phi3) == {1: "None", 2: "Production"}
    newest = search.of_model(phi3, "phi3")[0]
    assert (newest.reason, newest.replaced_to) == ("Faster", "None")


def test_a_promotion_that_breaks_programs_asks_for_a_second_yes(phi3: Settings, tmp_path: Path) -> None:
    for number, column in ((1, "prompt"), (2, "messages")):
        fakes.sign(tmp_path / f"model-{number}", column)
    done("promote", "phi3/1", "--stage", "Production")
    move = ("promote", "phi3/2", "--stage", "Production")
    told = refused(*move)
    assert "Programs that call phi3/1 break on phi3/2." in told
    assert "“messages” must be sent" in told
    assert "phi3/2 was not moved. Give --yes to move it all the same." in told
    assert "phi3/2 is now in Production" in done(*move, typed="y\n")
    assert "phi3/1 is now in Production" in done("promote", "phi3/1", "--stage", "Production", "--yes")


def test_what_a_script_set_is_listed_and_adopted(phi3: Settings) -> None:
    for number in ("1", "2"):
        mlflow_client(phi3).transition_model_version_stage("phi3", number, "Production")
    rows = done("models", "phi3").splitlines()[1:]
    assert ["Production" in row for row in rows] == [True, True]
    assert "None (MLflow: Production)" in rows[1]
    assert done("adopt", "phi3", "--reason", "As it was") == "phi3/2 is in Production: @production points at it.\n"
    assert stages(phi3) == {1: "None", 2: "Production"}
    assert "alone (any more)" in refused("adopt", "phi3")


def test_a_rollback_goes_to_the_previous_production(phi3: Settings) -> None:
    done("promote", "phi3/1", "--stage", "Production")
    assert "no version that was in Production before" in refused("rollback", "phi3", "--reason", "It loops")
    done("promote", "phi3/2", "--stage", "Production")
    assert run("rollback", "phi3").exit_code == 2, "it wants a reason"
    told = done("rollback", "phi3", "--reason", "It loops")
    assert told == "phi3/1 is in Production again. phi3/2 was archived.\n"
    assert stages(phi3) == {1: "Production", 2: "Archived"}


def test_a_rollback_over_changed_files_is_refused_and_an_admin_overrides_it(phi3: Settings, tmp_path: Path) -> None:
    done("promote", "phi3/1", "--stage", "Production")
    done("promote", "phi3/2", "--stage", "Production")
    (tmp_path / "model-1" / "MLmodel").write_text("flavors: {python_function: {}}\n# x\n")

    assert "an admin can roll back to it all the same" in refused("rollback", "phi3", "--reason", "It loops")
    assert stages(phi3) == {1: "Archived", 2: "Production"}
    done("rollback", "phi3", "--reason", "It loops", "--override")
    assert stages(phi3) == {1: "Production", 2: "Archived"}
    assert search.of_model(phi3, "phi3")[0].override == "It loops"


def test_deleting_asks_for_the_name_and_refuses_what_is_needed(phi3: Settings) -> None:
    done("promote", "phi3/1", "--stage", "Production")
    assert "is in Production" in refused("delete", "phi3/1", "--reason", "Old", "--confirm", "phi3/1")
    assert "nothing was deleted" in run("delete", "phi3/2", "--reason", "Old", typed="phi3/1\n").stderr
    assert set(stages(phi3)) == {1, 2}
    assert done("delete", "phi3/2", "--reason", "Old", typed="phi3/2\n") == "phi3/2 is deleted.\n"
    assert set(stages(phi3)) == {1}
