"""How the page Evaluate names scores and tells differences and durations."""

from __future__ import annotations

from phi3core.evaluation.statistics import Difference

COLORS = ("#2F86CF", "#2E9E5B", "#C77E23", "#8E6BBF", "#C2557A", "#5BA3A3", "#A3845B", "#8A97A6")
"""Of versions in charts, in their order."""

TITLES = {
    "exact": "exact", "contains": "contains", "regex": "pattern", "json_schema": "JSON schema", "number": "number",
    "similarity": "like the reference", "language": "language", "criteria": "criteria, judged",
    "correctness": "correct, judged", "repetition": "repetition", "refusal": "refusals",
    "finished": "came to its end",
}  # fmt: skip
"""What the scorers' names mean, for those whose means are shares."""


def sentence(one: Difference) -> str:
    """Markdown: how often it is better and worse, and how sure that is."""
    color = ("green" if one.mean > 0 else "red") if one.sure else "gray"
    sure = "surely" if one.sure else "which may be chance"
    return f":{color}[better on {one.better}, worse on {one.worse}, {sure}] (p {one.p:.2g})."


def duration(seconds: float) -> str:
    """Seconds, minutes or hours, as suits it."""
    if seconds < 120:
        return f"{seconds:,.0f} s"
    return f"{seconds / 60:,.0f} min" if seconds < 7200 else f"{seconds / 3600:,.1f} h"
