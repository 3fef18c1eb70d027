"""phi3 record."""

from __future__ import annotations

import csv
import io
import json

import pytest

from phi3core import tags
from phi3core.access.roles import Person
from phi3core.promotion.record import search, writer
from phi3core.settings import Settings
from phi3core.store.client import experiment_id, mlflow_client
from tests.cli.commands import done, refused

ANN = Person("ann@example.org", "admin")


@pytest.fixture
def history(phi3: Settings) -> Settings:
    done("promote", "phi3/1", "--stage", "Production", "--reason", "First, and =good")
    done("promote", "phi3/2", "--alias", "champion")
    done("promote", "phi3/2", "--stage", "Production", "--reason", "Faster")
    return phi3


def test_the_record_is_printed_newest_first_and_filtered(history: Settings) -> None:
    head, *rows = done("record").splitlines()
    assert head.split() == ["WHEN", "VERSION", "WHAT", "FROM", "TO", "WHO", "STATUS", "WHY"]
    assert [row.split()[2] for row in rows] == ["phi3/2", "phi3/2", "phi3/1"]
    assert "First, and =good" in rows[-1]
    assert len(done("record", "--limit", "1").splitlines()) == 2
    assert len(done("record", "--model", "phi3", "--version", "2").splitlines()) == 3
    assert len(done("record", "--action", "promote", "--text", "fast").splitlines()) == 2
    assert done("record", "--until", "2020-01-01") == "No such record.\n"
    assert len(done("record", "--since", "2020-01-01", "--limit", "0").splitlines()) == 4
    assert "name it with --model" in refused("record", "--version", "1")


def test_the_record_goes_out_as_json_and_csv(history: Settings) -> None:
    told = json.loads(done("record", "--json"))
    assert [(one["version"], one["action"], one["new"]) for one in told] == [
        (2, "promote", "Production"), (2, "set alias", "@champion"), (1, "promote", "Production"),
    ]  # fmt: skip
    rows = list(csv.DictReader(io.StringIO(done("record", "--csv"))))
    assert [row["reason"] for row in rows] == ["Faster", "", "First, and =good"]


def test_a_record_that_was_edited_is_found(history: Settings) -> None:
    assert "is whole" in done("record", "--model", "phi3", "--verify")
    first = search.of_model(history, "phi3")[-1]
    mlflow_client(history).set_tag(first.id, tags.REASON, "Nobody asked me")
    assert "was edited after it was written" in refused("record", "--model", "phi3", "--verify")
    assert "done, EDITED" in done("record")


def test_a_record_that_was_made_up_is_found_and_shown_as_such(history: Settings) -> None:
    tag_values = {tags.ACTION: "promote", tags.MODEL_NAME: "phi3", tags.VERSION: "1", tags.TO: "Production"}
    run_id = mlflow_client(history).create_run(experiment_id(history, tags.PROMOTIONS), tags=tag_values).info.run_id
    mlflow_client(history).set_terminated(run_id)
    assert "it has no seal" in refused("record", "--model", "phi3", "--verify")
    assert "done, NO SEAL" in done("record")


def test_a_restoration_that_was_taken_out_of_the_record_is_missed(history: Settings) -> None:
    for _ in range(2):
        mlflow_client(history).delete_experiment(experiment_id(history, tags.PROMOTIONS))
        writer.restore(history, ANN)
    assert "is whole" in done("record", "--model", "phi3", "--verify")
    mlflow_client(history).delete_run(search.page(history, action="restore").records[1].id)
    assert "is missing: it was deleted" in refused("record", "--model", "phi3", "--verify")
