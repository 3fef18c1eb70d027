"""phi3 policy check, and commands that hold versions against a policy, for a CI."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree

import pytest

from phi3core.cli import evaluate as commands
from phi3core.promotion.policy import policy
from phi3core.promotion.policy.policy import Policy, ScoreLimit
from phi3core.settings import Settings
from tests.app.servers import FakePool
from tests.cli.commands import done, refused, run
from tests.support import fakes, reviewing
from tests.support.judging import ADA


@pytest.fixture
def capitals(phi3: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A set of two prompts, half of which phi3/1 and /2 answer as expected; phi3/1 is in Production. The whole name."""
    pool = FakePool(lambda _: fakes.FakeEngine())
    monkeypatch.setattr(commands, "open_pool", lambda _: contextlib.nullcontext(pool))
    monkeypatch.setenv("PHI3_PARALLEL", "1")
    file = tmp_path / "capitals.csv"
    file.write_text("id,prompt,contains\nspain,Spain?,Madrid\nfrance,France?,Paris\n")
    saved = done("prompts", "import", str(file)).split()[0]
    done("promote", "phi3/1", "--stage", "Production", "--yes")
    done("policy", "set", "phi3", "Production", "--approvals", "1", "--score", f"{saved}:contains>=0.5",
         "--no-regression", "capitals")  # fmt: skip
    yield policy.read(phi3, "phi3")["Production"].no_regression[0]
    pool.close()


def lines_of(file: Path) -> dict[str, str]:
    """What a JUnit file says of each test."""
    found = ElementTree.parse(file).getroot().iter("testcase")
    return {
        f"{case.get('classname')} {str(case.get('name')).partition('@')[0]}": next(
            (child.tag for child in case if child.tag != "system-out"), "passed"
        )
        for case in found
    }


def test_a_policy_pins_the_items_that_are_meant_when_it_is_set(phi3: Settings, capitals: str) -> None:
    assert len(capitals.partition("@")[2]) == 64
    found = policy.read(phi3, "phi3")["Production"]
    assert found == Policy(1, no_regression=(capitals,), scores=(ScoreLimit(capitals, "contains", 0.5),))
    done("policy", "set", "phi3", "Production", "--review-win-rate", "55%", "--agreement", "0.6")
    done("policy", "set", "phi3", "Production", "--agreement", "none")
    assert policy.read(phi3, "phi3")["Production"].review_win_rate == 0.55
    assert policy.read(phi3, "phi3")["Production"].agreement is None
    assert "There is no scorer" in refused("policy", "set", "phi3", "Staging", "--score", "capitals:taste>=1")
    assert "everyday:contains>=0.8" in refused("policy", "set", "phi3", "Staging", "--score", "contains")
    judged = refused("policy", "set", "phi3", "Staging", "--score", "capitals:criteria>=0.8")
    assert "“criteria” is a model's opinion, which no record holds, so no version could meet it" in judged
    assert "no prompt set" in refused("policy", "set", "phi3", "Staging", "--no-regression", "towns")


def test_an_evaluation_counts_what_it_settles_and_tells_the_rest(capitals: str, tmp_path: Path) -> None:
    junit = tmp_path / "policy.xml"
    words = ("evaluate", "capitals", "phi3/2", "phi3/Production", "--policy", "Production", "--junit", str(junit))

    told = done(*words)

    assert "settled elsewhere: phi3/2: approvals: 1 needed" in told
    assert "met: phi3/2: contains on capitals@" in told
    assert lines_of(junit) == {
        "phi3/2 approvals": "skipped", "phi3/2 no regression on capitals": "passed",
        "phi3/2 contains on capitals": "passed",
    }  # fmt: skip

    done("policy", "set", "phi3", "Production", "--score", "capitals:contains>=0.6")
    failed = run(*words, "--json")
    assert failed.exit_code == 1
    assert "not met: phi3/2: contains on capitals@" in failed.stderr
    assert failed.stdout.startswith("{")
    assert lines_of(junit)["phi3/2 contains on capitals"] == "failure"


def test_a_check_of_the_policy_counts_every_line(capitals: str, tmp_path: Path) -> None:
    done("evaluate", "capitals", "phi3/2", "phi3/1")
    junit = tmp_path / "policy.xml"

    told = run("policy", "check", "phi3/2", "--junit", str(junit))

    assert (told.exit_code, "not met: phi3/2: approvals: 1 needed" in told.stderr) == (1, True)
    assert sorted(lines_of(junit).values()) == ["failure", "passed", "passed"]
    done("request", "phi3/2", "--reason", "It is no worse")
    done("approve", "phi3/2")
    done("policy", "check", "phi3/2", "--stage", "production")


def test_a_closed_review_is_held_against_the_policy(phi3: Settings, tmp_path: Path) -> None:
    found = reviewing.made(phi3, reviewing.evaluated(phi3, count=1), reviews=1)
    reviewing.judge(phi3, found, ADA)
    done("promote", "phi3/1", "--stage", "Production", "--yes")
    assert (
        "asks nothing of a version that a review would settle"
        in run("review", "show", found.id, "--policy", "Production").output
    )
    done("policy", "set", "phi3", "Production", "--review-win-rate", "0.5")
    junit = tmp_path / "policy.xml"

    told = run("review", "close", found.id, "--policy", "Production", "--junit", str(junit))

    assert told.exit_code == 1
    assert "not met: phi3/2: review: " in told.stderr
    assert "at least 50% for certain needed: 1 item by 1 person" in told.stderr  # whichever of the two it preferred
    assert lines_of(junit) == {"phi3/2 review": "failure"}


def test_a_junit_file_with_nothing_in_it_is_refused_before_anything_is_asked(capitals: str, tmp_path: Path) -> None:
    assert "nothing to tell" in refused("evaluate", "capitals", "phi3/2", "--junit", str(tmp_path / "x.xml"))
    told = run("evaluate", "capitals", "phi3/1", "--policy", "Production").output
    assert "No version is left to hold against the policy" in told
