"""Prompt sets and evaluations from a terminal."""

from __future__ import annotations

import contextlib
import csv
import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from phi3core.cli import evaluate as commands
from phi3core.settings import Settings
from tests.app.servers import FakePool
from tests.cli.commands import done, refused, run
from tests.evaluation.evaluating import JudgingEngine, says
from tests.support import fakes

Engines = dict[str, fakes.FakeEngine]


@pytest.fixture
def engines() -> Engines:
    return {f"phi3/{number}": fakes.FakeEngine() for number in (1, 2)}


@pytest.fixture
def capitals(phi3: Settings, engines: Engines, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A file of two prompts, saved as a set, and phi3/1 and /2 to answer it."""
    pool = FakePool(engines.__getitem__)
    monkeypatch.setattr(commands, "open_pool", lambda _: contextlib.nullcontext(pool))
    monkeypatch.setenv("PHI3_PARALLEL", "1")
    file = tmp_path / "capitals.csv"
    file.write_text("id,prompt,contains\nspain,Spain?,Madrid\nfrance,France?,Paris\n")
    done("prompts", "import", str(file))
    yield file
    pool.close()


def test_a_set_is_imported_listed_and_written_to_a_file_that_is_imported_again(capitals: Path, tmp_path: Path) -> None:
    listed = done("prompts", "list").splitlines()
    written = tmp_path / "out.jsonl"
    ref = listed[1].split()[0]

    assert ref.startswith("capitals@")
    assert [line.split("@")[0] for line in listed[1:]] == ["capitals", "adversarial", "everyday"]
    assert "france  contains  France?" in done("prompts", "show", "capitals")
    done("prompts", "show", ref, "--output", str(written))
    assert done("prompts", "import", str(written), "--name", "capitals") == f"{ref} has 2 items.\n"


def test_two_versions_are_evaluated_and_compared(capitals: Path, engines: Engines, tmp_path: Path) -> None:
    engines["phi3/2"].words = ("Paris",)
    output = tmp_path / "answers.csv"

    told = done("evaluate", "capitals", "phi3/1", "phi3/2", "--output", str(output))

    assert re.search(r"contains +0\.5 \(0\.0945 to 0\.905\) +0\.5 \(0\.0945 to 0\.905\)", told)
    assert "phi3/2 against phi3/1, contains: better on 1, worse on 1, not surely (p 1); worse on spain" in told
    rows = list(csv.DictReader(output.open()))
    assert [(row["item"], row["version"], row["contains"]) for row in rows] == [
        ("france", "phi3/1", "False"),
        ("france", "phi3/2", "True"),
        ("spain", "phi3/1", "True"),
        ("spain", "phi3/2", "False"),
    ]
    assert "capitals@" in (listed := done("evaluations", "--version", "phi3/2"))
    assert "complete" in listed


def test_the_same_evaluation_is_told_from_the_store_also_as_json(capitals: Path, engines: Engines) -> None:
    done("evaluate", "capitals", "phi3/1")
    asked = len(engines["phi3/1"].asked)

    plain = json.loads(done("evaluate", "capitals", "phi3/1", "--json"))

    assert len(engines["phi3/1"].asked) == asked
    assert plain["means"]["phi3/1"]["contains"]["value"] == 0.5
    assert plain["complete"] is True


def test_a_mean_below_what_is_asked_for_ends_with_status_1(capitals: Path) -> None:
    assert run("evaluate", "capitals", "phi3/1", "--at-least", "contains=0.5").exit_code == 0

    told = run("evaluate", "capitals", "phi3/1", "--at-least", "contains=0.6")

    assert told.exit_code == 1
    assert "phi3/1: contains is 0.5, and at least 0.6 is asked for." in told.stderr


def test_a_judge_judges_by_the_criteria_of_a_set(capitals: Path, engines: Engines, tmp_path: Path) -> None:
    engines["phi3/2"] = JudgingEngine(says("no"))
    (tmp_path / "polite.csv").write_text("id,prompt,criteria\nspain,Spain?,Greets first.\n")
    done("prompts", "import", str(tmp_path / "polite.csv"))

    told = run("evaluate", "polite", "phi3/1", "--judge", "phi3/2", "--at-least", "criteria=1")

    assert (told.exit_code, len(engines["phi3/2"].asked)) == (1, 1)
    assert re.search(r"criteria +0 ", told.stdout)
    assert "phi3/1: criteria is 0, and at least 1 is asked for." in told.stderr
    assert "phi3 has no version 9" in refused("evaluate", "polite", "phi3/1", "--judge", "phi3/9")


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("evaluate", "cities", "phi3/1"), "There is no prompt set “cities”"),
        (("evaluate", "capitals", "phi3/1", "--at-least", "taste=1"), "There is no scorer “taste”"),
        (("evaluate", "capitals", "phi3/1", "--at-least", "contains"), "such as contains=0.8"),
        (("evaluate", "capitals", "phi3/1", "--output", "answers.xml"), "end its name with .csv or .jsonl"),
        (("prompts", "import", "nowhere.csv"), "nowhere.csv can't be read"),
    ],
)
def test_what_makes_no_sense_is_refused(capitals: Path, words: tuple[str, ...], sentence: str) -> None:
    assert sentence in refused(*words)
