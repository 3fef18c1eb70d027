"""Reviews from a terminal."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator

import pytest

from phi3core.cli import review as commands
from phi3core.evaluation.reviews import review
from phi3core.settings import Settings
from tests.app.servers import FakePool
from tests.cli.commands import done, refused, run
from tests.support import fakes, reviewing
from tests.support.judging import ADA
from tests.support.saved_turns import no_senders_stay  # noqa: F401  (fixture)

UNTIL = ("--deadline", "2999-01-01")
QUESTION = ("--question", "Is 2 fit to replace 1?")


@pytest.fixture(autouse=True)
def _nothing_known() -> Iterator[None]:
    reviewing.forget()
    yield
    reviewing.forget()


def test_a_set_is_answered_and_reviewed_and_the_review_is_closed(
    phi3: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    engines = {f"phi3/{number}": fakes.FakeEngine((f"{number}",)) for number in (1, 2)}
    pool = FakePool(engines.__getitem__)
    monkeypatch.setattr(commands, "open_pool", lambda _: contextlib.nullcontext(pool))
    monkeypatch.setenv("PHI3_PARALLEL", "1")
    reviewing.evaluated(phi3, count=2, name="asked")
    assert done("review", "list").startswith("No review yet")

    told = done(
        "review", "create", "asked", "phi3/1", "phi3/2", *QUESTION, "--reviews", "2", "--deadline", "2999-01-01"
    )

    (found,) = review.search_reviews(phi3)
    assert told == f"Review {found.id} has 2 items, and needs 4 votes.\n"
    assert "Is 2 fit to replace 1?" in done("review", "list")
    assert "Nobody has voted yet" in refused("review", "close", found.id)
    reviewing.judge(phi3, found, ADA, "tie")
    shown = run("review", "show", found.id, "--complete")
    assert (shown.exit_code, "2 of 4 votes." in shown.output) == (1, True)
    assert "phi3/1 and phi3/2             tie   2" in shown.output
    assert done("review", "close", found.id) == "The review is closed with 2 votes.\n"
    plain = json.loads(done("review", "show", found.id, "--json"))
    assert (plain["state"], plain["votes"], len(plain["judgements"])) == ("closed", 2, 2)
    assert "closed already" in refused("review", "close", found.id)
    pool.close()


def test_one_version_under_two_names_is_asked_nothing_for_a_comparison(
    phi3: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(commands, "open_pool", lambda _: pytest.fail("It was asked."))
    done("promote", "phi3/1", "--stage", "Production", "--yes")

    assert "at least two versions" in refused("review", "create", "x", "phi3/1", "phi3/Production", *QUESTION)


def test_what_makes_no_sense_is_told(phi3: Settings) -> None:
    evaluation = reviewing.evaluated(phi3, ("phi3/1",), count=1)
    assert "Say what is reviewed" in refused("review", "create", *QUESTION)
    assert "at least two versions" in refused("review", "create", "--evaluation", evaluation, *QUESTION)
    assert "is no day" in refused("review", "create", "x", "phi3/1", *QUESTION, "--deadline", "soon")
    assert "is no review's id" in refused("review", "show", "nope")
