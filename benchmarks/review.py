"""A review of 5,000 items in a store of 100,000 traces: from a vote to the next item, in Chromium.

    python -m benchmarks.review [ITEMS TRACES]

The traces are written into MLflow's own tables at once. Two of three votes are there on half of the items.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from phi3core import tags
from phi3core.access.roles import Person
from phi3core.evaluation.items import Item
from phi3core.evaluation.reviews import create, queue
from phi3core.evaluation.reviews.board import board_of
from phi3core.evaluation.reviews.items import Answer, ReviewItem, digest_of, make_items, to_text
from phi3core.evaluation.reviews.plan import Plan
from phi3core.evaluation.reviews.review import Review, read_review
from phi3core.settings import Settings, load_settings
from phi3core.store.client import experiment_id, mlflow_client
from phi3core.timestamps import now_ms
from phi3core.traces.acts import Act

from . import browser
from .registry import app
from .tables import median, row

if TYPE_CHECKING:
    from playwright.sync_api import Page

ITEMS, TRACES = 5000, 100_000
ROUNDS = 25
_ROOT = Path(__file__).resolve().parent.parent
_REFS = ("phi3/1", "phi3/2")
_WORDS = ("Madrid", "is", "the", "capital", "of", "Spain", "and", "its", "largest", "town")


def fill(config: Settings, items: int, traces: int) -> Review:
    """Write the traces of an evaluation and of others beside it, a review of it, and votes."""
    import sqlalchemy
    from mlflow.store.tracking.dbmodels import models

    home, talks = experiment_id(config, tags.EVALUATIONS), experiment_id(config, tags.CONVERSATIONS)
    run_id = mlflow_client(config).create_run(home).info.run_id
    asked = [Item(f"i{at:05}", ({"role": "user", "content": f"Question {at}?"},)) for at in range(items)]
    answers = {(one.id, ref): _answer(one, ref) for one in asked for ref in _REFS}
    rows: dict[Any, list[dict[str, Any]]] = {
        table: [] for table in (models.SqlTraceInfo, models.SqlTraceMetadata, models.SqlTraceTag, models.SqlAssessments)
    }

    def trace(id: str, experiment: str, metadata: dict[str, str], ref: str) -> None:
        info = {"request_id": id, "experiment_id": int(experiment), "timestamp_ms": now_ms(), "status": "OK"}
        rows[models.SqlTraceInfo].append(info | {"execution_time_ms": 1, "trace_name": "chat"})
        metadata = metadata | {"mlflow.trace.user": "ada", "mlflow.trace_schema.version": "3"}
        rows[models.SqlTraceMetadata] += [{"request_id": id, "key": k, "value": v} for k, v in metadata.items()]
        told = {"mlflow.traceName": "chat", tags.VERSION: ref}
        rows[models.SqlTraceTag] += [{"request_id": id, "key": k, "value": v} for k, v in told.items()]

    for (item, ref), answer in answers.items():
        trace(answer.trace_id, home, {"mlflow.sourceRun": run_id, tags.ITEM: item}, ref)
    for at in range(traces - len(answers)):
        trace(_id(f"other {at}"), talks, {"mlflow.trace.session": _id(f"talk {at // 5}")[3:]}, _REFS[at % 2])
    text = to_text(judged := make_items("pairwise", "bench", asked, _REFS, answers))
    of = {
        tags.EVALUATION: run_id, tags.PROMPT_SET: "bench@0", tags.SET_DIGEST: "0", tags.DIGEST: digest_of(text),
        tags.VERSIONS: json.dumps(dict.fromkeys(_REFS, "")), tags.ITEMS: str(len(judged)),
    }  # fmt: skip
    plan = Plan("Which is better?", reviews=3)
    id = create.write_review(config, plan, Person("ada", "reviewer"), now_ms(), of, text)
    for at, item in enumerate(judged):
        for slot in range(2 if at % 2 else 0):
            rows[models.SqlAssessments] += _vote(id, item, slot, int(home))
    engine = sqlalchemy.create_engine(config.tracking_uri)
    with engine.begin() as connection:
        for table, values in rows.items():
            connection.execute(table.__table__.insert(), values)
    engine.dispose()
    return read_review(config, id)


def _answer(item: Item, ref: str) -> Answer:
    start = int(hashlib.sha256(f"{item.id} {ref}".encode()).hexdigest()[:8], 16)
    words = (_WORDS[(start + at * at) % len(_WORDS)] for at in range(100))
    return Answer(ref, f"{ref[-1]}: {' '.join(words)}.", _id(f"{item.id} {ref}"))


def _id(text: str) -> str:
    return f"tr-{hashlib.sha256(text.encode()).hexdigest()[:32]}"


def _vote(review: str, item: ReviewItem, slot: int, home: int) -> list[dict[str, Any]]:
    """A claim and the vote that came of it, as rows."""
    who, at = f"reviewer-{slot}@example.org", now_ms()
    acts = (
        Act("claim", review, item.id, who, slot=slot, at=at),
        Act("vote", review, item.id, who, values={"": "tie"}, first=_REFS[0], at=at),
    )
    return [
        {
            "assessment_id": act.id,
            "trace_id": item.trace_id,
            "name": tags.CLAIM if act.kind == "claim" else tags.JUDGEMENT,
            "assessment_type": "feedback",
            "value": json.dumps("x"),
            "created_timestamp": at,
            "last_updated_timestamp": at,
            "experiment_id": home,
            "trace_timestamp_ms": at,
            "is_numeric_value": False,
            "source_type": "HUMAN",
            "source_id": who,
            "valid": True,
            "assessment_metadata": json.dumps(
                {
                    tags.REVIEW: review,
                    tags.ITEM: item.id,
                    tags.ACT: json.dumps({name: getattr(act, name) for name in _TOLD}),
                }
            ),
        }
        for act in acts
    ]


_TOLD = ("kind", "number", "slot", "check", "at", "values", "first")


def in_process(config: Settings, review: Review) -> None:
    """The parts of it, without a browser."""
    me = Person("eve", "reviewer")
    started = time.perf_counter()
    board_of(config, review).refresh()
    print(f"    reading all that was done: {time.perf_counter() - started:.1f} s")
    found = []
    for _ in range(9):
        started = time.perf_counter()
        queue.find_next(config, review, me)
        middle = time.perf_counter()
        queue.measure(config, review, me)
        found.append((middle - started, time.perf_counter() - middle))
    print(f"    finding what is next: {median([one for one, _ in found]) * 1000:.0f} ms, ", end="")
    print(f"counting what waits: {median([two for _, two in found]) * 1000:.0f} ms", flush=True)


def in_chromium(config: Settings, review: Review) -> float:
    """Seconds from a key to the next item, the median."""
    with app(config) as url, browser.chromium() as open_browser:
        page = open_browser.new_page()
        page.goto(f"{url}/review?r={review.id}")
        page.get_by_role("button", name="1 is better").wait_for(timeout=120_000)
        page.wait_for_timeout(3000)
        return median([_next(page, "1" if at % 2 else "2") for at in range(ROUNDS)])


def _next(page: Page, key: str) -> float:
    question = page.get_by_test_id("stChatMessage").first
    before = question.inner_text()
    started = time.perf_counter()
    page.keyboard.press(key)
    page.wait_for_function(
        "before => { const found = document.querySelector('[data-testid=stChatMessage]');"
        " return found && found.innerText !== before && document.querySelector('[class*=st-key-review_answer_]') }",
        arg=before,
    )
    taken = time.perf_counter() - started
    page.wait_for_timeout(700)  # a person reads
    return taken


def main() -> None:
    items, traces = (int(text) for text in sys.argv[1:3]) if len(sys.argv) > 2 else (ITEMS, TRACES)
    cache = Path(os.environ.get("PHI3_CACHE") or _ROOT / ".phi3" / "cache").resolve()
    home = cache / "review-bench"
    shutil.rmtree(home, ignore_errors=True)
    os.environ["PHI3_HOME"] = str(home)
    os.environ["PHI3_USER"] = "eve"
    os.environ.pop("MLFLOW_TRACKING_URI", None)
    config = load_settings()
    review = fill(config, items, traces)
    print(f"{items:,} items, {traces:,} traces\n", flush=True)
    in_process(config, review)
    taken = in_chromium(config, review)
    row("a vote to the next item, milliseconds", taken * 1000, 300, False, f"median of {ROUNDS}")
    shutil.rmtree(home, ignore_errors=True)


if __name__ == "__main__":
    main()
