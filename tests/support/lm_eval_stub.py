"""A program in the harness's place: asks the model server each item, and writes results in the harness's form.

    python lm_eval_stub.py WORK URL MODEL TASK [die_after=N]

Like the harness it keeps each answer at once in the folder, and does not ask again for what is there.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import httpx


def main(work: Path, url: str, model: str, task: str, die_after: int) -> None:
    items = [json.loads(line) for line in (work / "items.jsonl").read_text().splitlines()]
    kept = work / "answers_rank0.jsonl"
    answers = [json.loads(line) for line in kept.read_text().splitlines()] if kept.exists() else []
    headers = {"Authorization": f"Bearer {os.environ['OPENAI_API_KEY']}"}
    for number, item in enumerate(items[len(answers) :], len(answers) + 1):
        if number > die_after:
            raise SystemExit("RuntimeError: the harness broke")
        messages = [{"role": "user", "content": item["question"]}]
        answer = httpx.post(f"{url}/chat/completions", json={"model": model, "messages": messages}, headers=headers)
        answer.raise_for_status()
        answers.append(answer.json()["choices"][0]["message"]["content"])
        with kept.open("a") as file:
            file.write(json.dumps(answers[-1]) + "\n")
        print(f"\rRequesting API: {100 * number // len(items):3d}%|##| {number}/{len(items)} [", end="", flush=True)
    right = sum("Madrid" in answer for answer in answers) / len(answers)
    found = {"exact_match,flexible-extract": right, "exact_match_stderr,flexible-extract": 0.05, "alias": task}
    written = {"results": {task: found}, "versions": {task: 3.0}, "n-samples": {task: {"effective": len(items)}}}
    (work / "results" / "x").mkdir(parents=True)
    (work / "results" / "x" / "results_2026.json").write_text(json.dumps(written))


if __name__ == "__main__":
    died = sys.argv[5] if len(sys.argv) > 5 else "1000"
    main(Path(sys.argv[1]), *sys.argv[2:5], int(died))
