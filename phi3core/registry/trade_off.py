"""Which versions no other one beats: at least as good in both of two metrics, and better in one."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from phi3core import tags

from .models import Version

COSTS = (tags.SIZE_METRIC, tags.TOKENS_PER_SECOND, tags.FIRST_TOKEN_MS, tags.PEAK_MEMORY)
"""Metrics of what a version takes to run; all others say how good it is."""
_NEITHER = {tags.SECONDS, tags.LOAD}
_LESS_IS_BETTER = {
    tags.SIZE_METRIC,
    tags.FIRST_TOKEN_MS,
    tags.PEAK_MEMORY,
    tags.PARITY_KL,
    tags.PARITY_KL_HIGH,
    tags.PARITY_KL_P99,
    tags.PARITY_PERPLEXITY,
    tags.PARITY_RATIO,
}


@dataclass(frozen=True)
class Point:
    """A version with its two values. best: no other version beats it."""

    version: Version
    cost: float
    quality: float
    best: bool


def qualities(versions: Iterable[Version]) -> list[str]:
    """The metrics that say how good versions are and that two of them have: the KL divergence first, then benchmarks.

    What a benchmark tells of its own error is none.
    """
    counts: dict[str, int] = {}
    for version in versions:
        for name in version.metrics:
            counts[name] = counts.get(name, 0) + 1
    found = [name for name, count in counts.items() if count > 1 and name not in {*COSTS, *_NEITHER}]
    kept = [name for name in found if not name.endswith("_stderr")]
    order = ("parity", tags.BENCHMARK_METRIC)
    return sorted(kept, key=lambda name: (name != tags.PARITY_KL, *(not name.startswith(one) for one in order), name))


def find_points(versions: Sequence[Version], cost: str, quality: str) -> list[Point]:
    """The versions that have both metrics, by their cost."""
    known = [version for version in versions if cost in version.metrics and quality in version.metrics]
    values = {v.version: (_badness(v, cost), _badness(v, quality)) for v in known}
    points = [
        Point(v, v.metrics[cost], v.metrics[quality], not _beaten(values[v.version], values.values())) for v in known
    ]
    return sorted(points, key=lambda point: (point.cost, point.quality))


def _badness(version: Version, metric: str) -> float:
    value = version.metrics[metric]
    return value if metric in _LESS_IS_BETTER else -value


def _beaten(own: tuple[float, float], others: Iterable[tuple[float, float]]) -> bool:
    return any(other != own and other[0] <= own[0] and other[1] <= own[1] for other in others)
