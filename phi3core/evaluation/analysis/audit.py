"""What may have bent a result: the side that an answer stood on, a single reviewer, reviewers who did not look."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from phi3core.evaluation.judgement import Judgement
from phi3core.evaluation.statistics import Mean

from .pairs import Pairs, count_pairs, preferred
from .ranking import chances_of
from .shares import share


@dataclass(frozen=True)
class Voter:
    """A reviewer's part in a result. votes: a vote on several criteria is one.

    checks: repeated items that they judged; failed: those they judged otherwise the second time. first_without: the
    version that leads without their votes, "" where none leads. swing: how far the chance of a version moves without
    them, at most. Both are of pairwise votes.
    """

    name: str
    votes: int
    checks: int
    failed: int
    first_without: str = ""
    swing: float = 0.0


@dataclass(frozen=True)
class Disagreement:
    """An item that reviewers judged differently. said: what each of them said, by name. share: of all pairs of them."""

    item: str
    criterion: str
    said: tuple[tuple[str, str], ...]
    comments: tuple[tuple[str, str], ...]
    share: float


def first_shown(judgements: Sequence[Judgement]) -> Mean | None:
    """How often the answer that was drawn first won, of the votes that one of two won; None where that is not known."""
    won: Counter[str] = Counter()
    votes: Counter[str] = Counter()
    for vote in judgements:
        if vote.form == "pairwise" and not vote.check and vote.shown_first and vote.value in ("left", "right"):
            votes[vote.item] += 1
            won[vote.item] += preferred(vote) == vote.shown_first
    return share([won[item] for item in votes], list(votes.values())) if votes else None


def weigh(judgements: Sequence[Judgement]) -> list[Voter]:
    """Each reviewer's part, those with the most votes first."""
    pairs = count_pairs(judgements)
    checks, failed = _checks(judgements)
    votes = Counter(who for who, _ in {(vote.reviewer, vote.item) for vote in judgements if not vote.check})
    return [
        Voter(name, count, checks[name], failed[name], *_without(pairs, judgements, name))
        for name, count in sorted(votes.items(), key=lambda one: (-one[1], one[0]))
    ]


def leader(pairs: Pairs) -> str:
    """The version whose chance is the highest; "" where two share it."""
    if len(pairs.refs) < 2:
        return ""
    chances = chances_of(pairs.total).round(9)
    best = pairs.refs[int(chances.argmax())]
    return best if (chances == chances.max()).sum() == 1 else ""


def disagreements(judgements: Sequence[Judgement]) -> list[Disagreement]:
    """The items that two or more people judged differently, those they are most divided on first."""
    by_item: dict[tuple[str, str], list[Judgement]] = {}
    for vote in judgements:
        if vote.form != "text" and not vote.check:
            by_item.setdefault((vote.item, vote.criterion), []).append(vote)
    found = []
    for (item, criterion), votes in by_item.items():
        said = tuple((vote.reviewer, _said(vote)) for vote in votes)
        pairs = len(said) * (len(said) - 1) / 2
        same = sum(count * (count - 1) / 2 for count in Counter(word for _, word in said).values())
        if pairs > same:
            comments = tuple((vote.reviewer, vote.comment) for vote in votes if vote.comment)
            found.append(Disagreement(item, criterion, said, comments, 1 - same / pairs))
    return sorted(found, key=lambda one: (-one.share, one.item, one.criterion))


def _without(pairs: Pairs, judgements: Sequence[Judgement], name: str) -> tuple[str, float]:
    if len(pairs.refs) < 2:
        return "", 0.0
    rest = count_pairs([vote for vote in judgements if vote.reviewer != name])
    now = dict(zip(pairs.refs, chances_of(pairs.total)))
    then = dict(zip(rest.refs, chances_of(rest.total))) if len(rest.refs) > 1 else {}
    swing = max((abs(now[ref] - chance) for ref, chance in then.items()), default=0.0)
    return leader(rest), float(swing)


def _checks(judgements: Sequence[Judgement]) -> tuple[Counter[str], Counter[str]]:
    """By reviewer, how many repeated items they judged, and how many of them otherwise than the first time."""
    first = {(vote.reviewer, vote.item, vote.criterion): _said(vote) for vote in judgements if not vote.check}
    checks: Counter[str] = Counter()
    failed: Counter[str] = Counter()
    for vote in judgements:
        before = first.get((vote.reviewer, vote.item, vote.criterion)) if vote.check and vote.form != "text" else None
        if before is not None:
            checks[vote.reviewer] += 1
            failed[vote.reviewer] += before != _said(vote)
    return checks, failed


def _said(vote: Judgement) -> str:
    return preferred(vote) if vote.form == "pairwise" else str(vote.value)
