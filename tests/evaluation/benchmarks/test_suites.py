"""What the harness is given: the items of a wheel in the form of its own data, and which task of its they are of."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import pytest

from phi3core.errors import NotFound
from phi3core.evaluation.benchmarks.suites import SUITES, find_suite, write_task

HELLASWAG = {
    "activity_label": "Cats",
    "ctx": "A cat sits. it",
    "endings": ["barks.", "purrs."],
    "expected_index": 1,
}
TRUTHFUL = {"question": "Is it?", "choices": ["No.", "Yes.", "Perhaps."], "expected_index": 1}
GSM8K = {"prompt": "1 + 1?", "expected": "2", "upstream_answer": "#### 2"}


def mmlu(subject: str, number: int) -> dict[str, Any]:
    letters = {f"answer_{letter}": f"{letter}{number}" for letter in "abcd"}
    return {"question": f"{subject} {number}", **letters, "correct_answer": "C", "topic": subject}


HEADER = {**mmlu("physics", 0), "question": "question", "correct_answer": "answer"}


def written(name: str, rows: list[dict[str, Any]], folder: Path, limit: int | None = None, seed: int = 1) -> Any:
    """The task's name and count, its description and its items."""
    suite = find_suite(name)
    wheel = folder / "wheel.zip"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr(suite.member, "".join(json.dumps(row) + "\n" for row in rows))
    label = write_task(suite, wheel, Path("/harness/tasks"), folder, limit, seed)
    items = [json.loads(line) for line in (folder / "items.jsonl").read_text().splitlines()]
    return label, len(items), json.loads((folder / "task.yaml").read_text()), items


def test_a_subset_is_called_so_and_includes_the_harnesss_own_task(tmp_path: Path) -> None:
    label, count, task, items = written("hellaswag", [HELLASWAG] * 3, tmp_path)

    assert (label, count, task["task"]) == ("hellaswag-3", 3, "hellaswag-3")
    assert task["include"] == "/harness/tasks/hellaswag/hellaswag.yaml"
    assert task["dataset_kwargs"] == {"data_files": {"validation": str(tmp_path / "items.jsonl")}}
    assert items[0]["ctx_a"] == "A cat sits. it"
    assert items[0]["label"] == "1"


def test_the_whole_of_a_suite_has_its_own_name_and_a_part_of_it_has_not(tmp_path: Path) -> None:
    rows = [{"key": number, "prompt": "Say hello."} for number in range(3)]

    assert written("ifeval", rows, tmp_path)[:2] == ("ifeval", 3)
    assert written("ifeval", rows, tmp_path, limit=2)[:2] == ("ifeval-2", 2)


def test_the_right_answer_of_truthfulqa_stands_first_where_the_harness_expects_it(tmp_path: Path) -> None:
    _, _, _, [item] = written("truthfulqa_mc1", [TRUTHFUL], tmp_path)

    assert item["mc1_targets"] == {"choices": ["Yes.", "No.", "Perhaps."], "labels": [1, 0, 0]}


def test_gsm8k_keeps_the_answer_with_its_way(tmp_path: Path) -> None:
    assert written("gsm8k_cot", [GSM8K], tmp_path)[3] == [{"question": "1 + 1?", "answer": "#### 2"}]


def test_mmlu_is_ten_of_each_subject_by_the_seed_without_the_headers(tmp_path: Path) -> None:
    rows = [HEADER, *(mmlu(subject, number) for subject in ("physics", "law") for number in range(30))]

    label, count, task, items = written("mmlu", rows, tmp_path, seed=7)

    assert (label, count) == ("mmlu-20", 20)
    assert {item["subject"] for item in items} == {"physics", "law"}
    assert all(item["question"] != "question" and item["answer"] == 2 for item in items)
    assert "{{subject}}" in task["description"]
    assert written("mmlu", rows, tmp_path, seed=7)[3] == items
    assert written("mmlu", rows, tmp_path, seed=8)[3] != items


def test_a_few_items_of_mmlu_are_of_many_subjects(tmp_path: Path) -> None:
    rows = [mmlu(f"subject {at}", number) for at in range(20) for number in range(10)]

    label, _, _, items = written("mmlu", rows, tmp_path, limit=40)

    assert label == "mmlu-40"
    assert len({item["subject"] for item in items}) > 10  # and not the first four


def test_an_unknown_suite_is_told_with_those_that_there_are() -> None:
    with pytest.raises(NotFound, match="there are ifeval, gsm8k"):
        find_suite("glue")


def test_each_suite_names_its_licence_and_the_origin_of_its_items() -> None:
    assert all(suite.licence and suite.origin and len(suite.wheel.sha256) == 64 for suite in SUITES)
