"""All that the votes of a review say, in one reading of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from phi3core.evaluation import statistics
from phi3core.evaluation.judgement import Judgement
from phi3core.evaluation.statistics import Mean

from . import agreement, audit, ranking
from .agreement import Agreement
from .audit import Disagreement, Voter
from .needed import Needed, needed
from .pairs import Pairs, count_pairs
from .ranking import Rank
from .shares import share


@dataclass(frozen=True)
class Report:
    """What the votes say. votes, items, people: counts, without the repeated items that check attention.

    ranking: best first, of pairwise votes. leader: the one that is ahead in it, "" where the first share their place.
    rates: by two versions, the share of votes that preferred the first. means: by version and criterion, of ratings (1
    to 5) or of passes (a share). islands: groups of versions between which there is no vote. agreement_over_time:
    (milliseconds since 1970, alpha). needed: for the two that lead.
    """

    votes: int
    items: int
    people: int
    ranking: tuple[Rank, ...]
    leader: str
    rates: dict[tuple[str, str], Mean]
    means: dict[tuple[str, str], Mean]
    islands: tuple[tuple[str, ...], ...]
    agreement: tuple[Agreement, ...]
    agreement_over_time: tuple[tuple[int, float], ...]
    first_shown: Mean | None
    voters: tuple[Voter, ...]
    disagreements: tuple[Disagreement, ...]
    needed: Needed | None


@lru_cache(maxsize=20)
def analyse(judgements: tuple[Judgement, ...], times: int = ranking.RESAMPLES) -> Report:
    """All of it; some seconds of computing for a thousand resamples, once for the same votes.

    times: how often items are resampled.
    """
    pairs = count_pairs(judgements)
    ranks = ranking.rank(pairs, times)
    votes = [vote for vote in judgements if not vote.check]
    return Report(
        len(votes),
        len({vote.item for vote in votes}),
        len({vote.reviewer for vote in votes}),
        tuple(ranks),
        audit.leader(pairs),
        compare(pairs),
        _means(votes),
        tuple(map(tuple, ranking.islands(pairs))) if pairs.refs else (),
        tuple(agreement.agree(judgements, times)),
        tuple(agreement.over_time(judgements)),
        audit.first_shown(judgements),
        tuple(audit.weigh(judgements)),
        tuple(audit.disagreements(judgements)),
        needed(pairs, ranks[0].ref, ranks[1].ref) if len(ranks) > 1 else None,
    )


def compare(pairs: Pairs) -> dict[tuple[str, str], Mean]:
    """By two versions, the share of the votes between them that preferred the first; no votes, no entry."""
    found = {(one, other): pairs.rate(one, other) for one in pairs.refs for other in pairs.refs if one != other}
    return {both: rate for both, rate in found.items() if rate is not None}


def _means(votes: Sequence[Judgement]) -> dict[tuple[str, str], Mean]:
    by_item: dict[tuple[str, str], dict[str, list[float]]] = {}
    passing = {vote.form for vote in votes} == {"pass"}
    for vote in votes:
        if vote.form in ("rating", "pass"):
            value = float(vote.value) if vote.form == "rating" else float(vote.value == "pass")
            by_item.setdefault((vote.left, vote.criterion), {}).setdefault(vote.item, []).append(value)
    return {
        key: share([sum(values) for values in items.values()], [len(values) for values in items.values()])
        if passing
        else statistics.mean([sum(values) / len(values) for values in items.values()])
        for key, items in by_item.items()
    }
