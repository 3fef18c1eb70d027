"""The figures of a review of 2,000 votes, and the page that shows them while they are computed.

    python -m benchmarks.ranking

The page is its script, as the app server runs it; what Chromium takes to draw is not in it.
"""

from __future__ import annotations

import time

import numpy as np
from streamlit.testing.v1 import AppTest

from phi3core.evaluation.analysis import ranking, report
from phi3core.evaluation.analysis.pairs import count_pairs
from phi3core.evaluation.judgement import Judgement
from phi3core.evaluation.reviews.plan import Plan
from phi3core.evaluation.reviews.review import Review

from .tables import median, row

ITEMS, REVIEWERS = 400, 5
_REFS = ("phi3/1", "phi3/2", "phi3/3", "phi3/4")


def made_up(seed: int = 1) -> tuple[Judgement, ...]:
    """Votes on pairs of four versions, those on one item alike."""
    random = np.random.default_rng(seed)
    found = []
    for item in range(ITEMS):
        left, right = random.choice(4, 2, replace=False)
        chance = 1 / (1 + np.exp(-(0.3 * (left - right) + random.normal())))
        for reviewer in range(REVIEWERS):
            value = "tie" if random.random() < 0.15 else "left" if random.random() < chance else "right"
            sides = _REFS[left], _REFS[right]
            first = sides[int(random.integers(2))]
            at = 1_700_000_000_000 + 60_000 * item + reviewer
            found.append(
                Judgement(f"i{item}", f"r{reviewer}", "pairwise", *sides, shown_first=first, value=value, at=at)
            )
    return tuple(found)


def _page(found: object, judgements: object) -> None:  # its source runs by itself, without what is imported here
    from pages.components.review import results

    results.show(found, judgements)  # type: ignore[arg-type]


def main() -> None:
    votes = made_up()
    pairs = count_pairs(votes)
    started = time.perf_counter()
    ranking.rank(pairs)
    print(f"{len(votes):,} votes, {len(_REFS)} versions: ranked in {time.perf_counter() - started:.1f} s", end="")
    started = time.perf_counter()
    report.analyse(votes)
    print(f", all figures in {time.perf_counter() - started:.1f} s\n", flush=True)

    review = Review("a" * 32, Plan("?"), "ada", 0, "", "set@0", "0", _REFS, {}, ITEMS, "", True, False)
    at = AppTest.from_function(_page, args=(review, votes), default_timeout=60).run()
    report.analyse.cache_clear()  # what was computed is forgotten, and the next votes are others
    at = AppTest.from_function(_page, args=(review, made_up(2)), default_timeout=60)
    during, after = [], []
    while len(after) < 10:
        started = time.perf_counter()
        at.run()
        taken = time.perf_counter() - started
        (during if any("being computed" in one.value for one in at.caption) else after).append(taken)
    row("the page while they are computed, milliseconds", median(during) * 1000, 300, False, f"of {len(during)} draws")
    row("the page once they are there, milliseconds", median(after) * 1000, 300, False, f"of {len(after)} draws")


if __name__ == "__main__":
    main()
