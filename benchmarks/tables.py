"""The benchmarks' tables: what runs against each other takes turns, and a line says what was seen and its limit."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

median = statistics.median


def alternate(runs: dict[str, Callable[[], float]], rounds: int = 5, rest: float = 0) -> dict[str, float]:
    """The median of each, run in turns after one turn that does not count. rest: seconds before each run."""
    found: dict[str, list[float]] = {name: [] for name in runs}
    for number in range(rounds + 1):
        for name, run in runs.items():
            time.sleep(rest)
            value = run()
            if number:
                found[name].append(value)
    return {name: median(values) for name, values in found.items()}


def row(what: str, value: float, limit: float, at_least: bool, told: str) -> None:
    """One line of the table."""
    good = value >= limit if at_least else value <= limit
    sign = "≥" if at_least else "≤"
    print(f"{'ok ' if good else 'NOT'} {what:66} {value:7.2f} ({sign} {limit:.2f})  {told}", flush=True)
