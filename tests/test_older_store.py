"""A default store that version 0.1.0 wrote is as good as one of today: it lists, chats, promotes, and keeps its record.

tests/fixtures/store-0.1.0 is the home that 0.1.0 left: its SQLite file and its artifacts. ``phi3-embedded`` is a tiny
random Phi-3, built both ways; /2 is in Production by a request of ada's that bob approved, /1 in Staging with another
one that is approved and not carried out, and ada talked to /2 and liked the first answer.
"""

from __future__ import annotations

import gzip
import json
import sqlite3
import tarfile
from pathlib import Path

import pytest
from click.testing import CliRunner

from phi3core.cli.main import main
from phi3core.settings import Settings

FIXTURE = Path(__file__).parent / "fixtures" / "store-0.1.0"
HOME = "/tmp/phi3/home"
"""Where it was made: MLflow keeps the absolute addresses of artifacts."""
ADDRESSES = {
    "experiments": "artifact_location",
    "runs": "artifact_uri",
    "logged_models": "artifact_location",
    "model_versions": "storage_location",
    "trace_tags": "value",
}
"""Where they stand. Not in the tags of runs: the records are sealed over those."""
CONVERSATION = "4a5eadc7932244eb95c0d2a879360fc3"


@pytest.fixture(autouse=True)
def older(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """The old home, moved to where this test works."""
    store = settings.home / "mlflow.db"
    store.write_bytes(gzip.decompress((FIXTURE / "mlflow.db.gz").read_bytes()))
    with tarfile.open(FIXTURE / "artifacts.tar.gz") as archive:
        archive.extractall(settings.home, filter="data")
    with sqlite3.connect(store) as database:
        for table, column in ADDRESSES.items():
            database.execute(f"UPDATE {table} SET {column} = replace({column}, ?, ?)", (HOME, str(settings.home)))
    monkeypatch.setenv("PHI3_USER", "ada")
    return settings


def phi3(*arguments: str) -> str:
    """What the command prints."""
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 0, result.output
    return result.stdout


def holders() -> dict[int, str]:
    """The stage of each version."""
    return {row["version"]: row["stage"] for row in json.loads(phi3("models", "phi3-embedded", "--json"))}


def test_its_versions_are_listed_with_what_was_known_of_them() -> None:
    second, first = json.loads(phi3("models", "phi3-embedded", "--json"))
    assert (second["wrapper"], second["stage"], second["aliases"]) == ("onnx", "Production", ["champion", "production"])
    assert (first["wrapper"], first["stage"], first["aliases"]) == ("transformers", "Staging", ["staging"])
    assert all(row["metrics"]["tokens_per_second"] > 0 for row in (first, second))


@pytest.mark.parametrize("number", [1, 2])
def test_its_versions_answer(number: int) -> None:
    turn = json.loads(phi3("chat", f"phi3-embedded/{number}", "Hello", "--seed", "1", "--max-tokens", "5", "--json"))
    assert turn["state"] == "done"
    assert turn["completion_tokens"] > 0


def test_its_policy_and_requests_count() -> None:
    assert json.loads(phi3("policy", "show", "phi3-embedded", "--json"))["Production"]["approvals"] == 1
    (waiting,) = json.loads(phi3("request", "--json"))
    assert (waiting["version"], waiting["status"]) == (1, "approved")


def test_it_promotes_by_the_approval_of_then_and_rolls_back() -> None:
    phi3("promote", "phi3-embedded/1", "--stage", "Production", "--yes", "--reason", "As approved")
    assert holders() == {1: "Production", 2: "Archived"}
    phi3("rollback", "phi3-embedded", "--reason", "Back to what was there before")
    assert holders()[2] == "Production"
    records = json.loads(phi3("record", "--model", "phi3-embedded", "--json"))
    assert [record["action"] for record in records[:2]] == ["roll back", "promote"]
    assert "is whole" in phi3("record", "--model", "phi3-embedded", "--verify")


def test_its_record_is_intact() -> None:
    assert "is whole" in phi3("record", "--model", "phi3-embedded", "--verify")
    records = json.loads(phi3("record", "--model", "phi3-embedded", "--json"))
    assert [(r["action"], r["user"]) for r in reversed(records)] == [
        ("set policy", "ada"),
        ("request", "ada"),
        ("approve", "bob"),
        ("promote", "ada"),
        ("promote", "ada"),
        ("set alias", "ada"),
        ("request", "ada"),
        ("approve", "bob"),
    ]


def test_its_conversation_is_read_with_the_thumb(tmp_path: Path) -> None:
    phi3("export", CONVERSATION, "--output", str(tmp_path / "talk.json"))
    talk = json.loads((tmp_path / "talk.json").read_text())
    assert talk["title"] == "A talk of before"
    first, second = talk["turns"]
    assert (first["question"], first["thumb"], first["comment"]) == ("Hello", True, "Short enough")
    assert (second["question"], second["state"], second["ref"]) == ("And again?", "done", "phi3-embedded/2")
