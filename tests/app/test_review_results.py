"""What the owner of a review is shown of its votes."""

from __future__ import annotations

import json
from collections.abc import Sequence

import pytest
from streamlit.testing.v1 import AppTest

from pages.components.shared import reads
from phi3core.evaluation.analysis import report
from phi3core.evaluation.judgement import Judgement
from phi3core.evaluation.reviews.plan import Plan
from phi3core.evaluation.reviews.review import Review
from tests.app.conftest import said
from tests.app.talks import NASTY, shown
from tests.evaluation.analysis.votes import NEW, OLD, table, vote, votes
from tests.support.fakes import until


def _page(found: object, judgements: object) -> None:  # its source runs by itself, without what is imported here
    from pages.components.review import results

    results.show(found, judgements)  # type: ignore[arg-type]


def drawn(judgements: Sequence[Judgement], form: str = "pairwise") -> AppTest:
    found = Review(
        "a" * 32, Plan("Is 2 fit?", form), "ann", 0, "b" * 32, "set@1", "", (OLD, NEW), {}, 9, "", True, False  # type: ignore[arg-type]
    )  # fmt: skip
    at = AppTest.from_function(_page, args=(found, judgements), default_timeout=60).run()
    until(lambda: "being computed" not in said(at) or not at.run())
    assert not at.exception
    return at


def charts(at: AppTest) -> dict[str, str]:
    """The charts by their place, as JSON."""
    return {f"{n}": json.dumps(json.loads(one.proto.spec)) for n, one in enumerate(at.get("plotly_chart"))}


@pytest.fixture(autouse=True)
def few_resamples(monkeypatch: pytest.MonkeyPatch) -> None:
    real = report.analyse

    def analyse(judgements: tuple[Judgement, ...]) -> report.Report:
        return real(judgements, 20)

    monkeypatch.setattr(report, "analyse", analyse)


def test_a_settled_review_says_who_leads_and_draws_it() -> None:
    given = [vote(f"i{at}", who, "left", shown_first=NEW if at % 2 else OLD, at=at) for at in range(18)
             for who in ("ann", "ben")]  # fmt: skip
    given += [vote("i18", who, "right", at=18) for who in ("cy", "ann")]

    at = drawn(given)

    told = shown(said(at))
    assert f"**{NEW}** leads: 95% of the votes between it and {OLD}" in told
    assert "That is settled" in told
    assert "Agreement: " in told
    assert "no sign that its place plays a part" in told
    found = charts(at)
    assert len(found) == 4  # ranking, rates, agreement over time, what was drawn first
    assert f'"{NEW}", "{OLD}"' in found["0"]
    assert at.dataframe[0].value["Reviewer"].tolist() == ["ann", "ben", "cy"]


def test_an_unsettled_review_says_what_would_settle_it_and_that_nothing_was_lost_is_no_bound() -> None:
    unsettled = shown(said(drawn(votes(*["left"] * 12, *["right"] * 9))))
    assert "Not settled. If it goes on like this, about" in unsettled
    assert "four times out of five" in unsettled

    never = shown(said(drawn(votes("left", "left", "left"))))
    assert f"{NEW} never lost: how much better it is has no upper bound yet." in never


def test_a_tie_is_told_as_one_and_no_reviewer_is_said_to_have_bent_it() -> None:
    at = drawn([vote(f"i{at}", who, "tie") for at in range(2) for who in ("ann", "ben")])

    told = shown(said(at))
    assert f"Neither **{NEW}** nor **{OLD}** leads" in told or f"Neither **{OLD}** nor **{NEW}** leads" in told
    assert not at.warning


def test_what_may_have_bent_it_is_warned_of() -> None:
    given = [vote(f"i{at}", who, "left") for at in range(2) for who in ("ann", "ben")]
    given += [vote(f"i{at}", NASTY, "right") for at in range(9)]
    given += [vote("i0", NASTY, "left", check=True)]
    given += votes("left", left="m/1", right="m/2")

    at = drawn(given)

    warned = " ".join(shown(one.value) for one in at.warning)
    assert "no vote between these groups" in warned
    assert f"judged otherwise the second time: {NASTY[:20]}" in warned
    assert "another version would lead, or none" in warned
    assert "![x]" not in said(at)  # escaped


def test_the_votes_are_not_kept_with_the_figures_of_them() -> None:
    drawn(votes("left", "right"))

    kept = repr(list(reads._table()._entries))
    assert "report" in kept
    assert "Judgement" not in kept


def test_ratings_and_passes_have_means() -> None:
    ratings = drawn(table("rating", [(1, 5, 3), (2, 5, 3)]), "rating")
    assert "Mean rating, 1 to 5" in said(ratings)

    assert "The share that passed" in said(drawn(table("pass", [("pass", "fail"), ("pass", "pass")]), "pass"))


def test_free_text_has_reviewers_and_no_chart() -> None:
    at = drawn(table("text", [("Nice.", "Too long.")]), "text")

    assert charts(at) == {}
    assert at.dataframe[0].value["Votes"].tolist() == [2]
