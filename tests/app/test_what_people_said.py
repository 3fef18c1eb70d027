"""What people said of versions: on a version's page, and of two beside each other."""

from __future__ import annotations

from pathlib import Path

import pytest

from phi3core.chat import history
from phi3core.promotion.policy import policy
from phi3core.promotion.policy.policy import Policy
from phi3core.promotion.promote import promote
from phi3core.settings import Settings
from tests.app.conftest import Open, links
from tests.app.registry import said
from tests.support.judging import ADA, BOB, ROOT, answered, kept, version_with_files, voted
from tests.support.reviewing import evaluated, made


def plain(label: str) -> str:
    """A label as it is read."""
    return label.replace("\\", "").replace("\u2060", "")


@pytest.fixture
def judged(settings: Settings, tmp_path: Path) -> str:
    """phi3/1 in Production and phi3/2, which won the one vote between them; the id of a talk with it."""
    old, new = version_with_files(settings, tmp_path), version_with_files(settings, tmp_path)
    promote(settings, old.ref, "Production")
    voted(settings, new, old, "new", ADA)
    return kept(settings, answered(new, thumb=True, comment="Right.", rated_by=BOB.name))


def test_a_share_of_votes_says_what_it_is_of(open_page: Open, judged: str) -> None:
    at = open_page("registry", model="phi3", version="2", tab="Reviews")

    shown = {plain(metric.label): metric.value for metric in at.metric}
    assert shown["Votes won"] == "1 of 1 · 100 %"
    assert shown["Against phi3/1"] == "1 of 1 · 100 %"
    assert "Right." in said(at)


def test_a_conversation_that_was_renamed_is_listed_by_its_name(
    open_page: Open, judged: str, settings: Settings
) -> None:
    history.rename(settings, judged, "Capitals")

    at = open_page("registry", model="phi3", version="2", tab="Reviews")

    assert {"Capitals", "The capital?"} <= set(map(plain, links(at)))  # the other one has no name


def test_compare_shows_what_people_said_of_both(open_page: Open, judged: str) -> None:
    at = open_page("registry", **{"compare": "phi3/1", "with": "phi3/2"})

    assert "What people said" in [heading.value for heading in at.subheader]
    said_of = at.table[0].value
    assert [list(said_of.loc[row]) for row in ("Conversations", "Thumbs", "Votes won", "Against the other one")] == [
        ["1", "2"],
        ["–", "1 up, 0 down"],
        ["0 of 1 · 0 %", "1 of 1 · 100 %"],
        ["0 of 1 · 0 %", "1 of 1 · 100 %"],
    ]


def test_reviews_and_evaluations_of_a_version_are_one_press_away(
    open_page: Open, judged: str, settings: Settings
) -> None:
    run_id = evaluated(settings, ("phi3/1", "phi3/2"))
    review = made(settings, run_id)

    at = open_page("registry", model="phi3", version="2", tab="Reviews")

    shown = {plain(label): place for label, place in links(at).items()}
    assert shown["Is 2 fit to replace 1?"].endswith(f"?r={review.id}")  # its queue: it is open
    assert shown["asked, with phi3/1"].endswith(f"?run={run_id}")
    assert "open · 3 items" in plain(said(at))
    assert not at.exception


def test_what_production_needs_of_a_version_stands_beside_what_people_said(
    open_page: Open, judged: str, settings: Settings
) -> None:
    policy.write(settings, "phi3", "Production", Policy(review_win_rate=0.55), ROOT)
    at = open_page("registry", model="phi3", version="2", tab="Reviews")
    assert "no closed review" not in plain(said(at))  # it is read when it is opened

    at.session_state["version_policy_phi3/2"] = True
    at.run()

    assert "0 of 1 met" in plain(said(at))
    assert "no closed review against phi3/1 tells it" in plain(said(at))
    assert not at.exception
