"""Evaluations: answers of several versions at once, what an evaluation costs beside its answers, and its page.

    python -m benchmarks.evaluation [REF]              # all; REF: an ONNX version of the store
    python -m benchmarks.evaluation --store [ITEMS]    # without a model: made-up answers of 100 tokens

What needs no model is measured with answers that are there at once, in a home of its own.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from phi3core.chat.live_turn import LiveTurn, Outcome
from phi3core.evaluation import evaluate as evaluating
from phi3core.evaluation import prompt_sets, results
from phi3core.evaluation.items import Item
from phi3core.registry import reader
from phi3core.registry.models import Version
from phi3core.serving.pool import Pool
from phi3core.settings import Settings, load_settings
from phi3core.store.client import mlflow_client

from . import browser
from .clients import STORY, ask, client
from .crowds import start_thread
from .registry import app
from .tables import median, row

ITEMS, TOKENS, PAGE_ITEMS, VERSIONS = 500, 100, 1000, 4
ASSUMED = 400.0  # tokens/s in all of the default model, answers batched: where no model is measured beside
_WORDS = ("Madrid", "is", "the", "capital", "of", "Spain", "and", "its", "largest", "town")


def set_of(name: str, count: int) -> list[Item]:
    """Items that every scorer has something to do with."""
    expected = {
        "exact": "Madrid", "contains": ["Madrid"], "regex": "Mad", "number": 3.0, "reference": " ".join(_WORDS * 10),
        "json_schema": {"type": "object"}, "language": "en",
    }  # fmt: skip
    return [Item(f"{name}{at:05}", ({"role": "user", "content": f"Question {at}?"},), expected) for at in range(count)]


@contextmanager
def made_up_answers(seconds: float = 0.0) -> Iterator[None]:
    """Every answer is there so many seconds after it was asked for, and takes no processor."""

    def answer(_pool: Any, live: LiveTurn, target: Any, _messages: Any, _conversation: str) -> Outcome:
        time.sleep(seconds)
        shift = int(target.version) if isinstance(target, Version) else 0
        live.append(" ".join(_WORDS[(at + shift) % len(_WORDS)] for at in range(TOKENS)))
        live.set_finish_reason("stop")
        live.set_counts(20, TOKENS)
        live.set_speed(50.0, 100.0)
        return Outcome("done")

    real = evaluating.answer
    evaluating.answer = answer
    try:
        yield
    finally:
        evaluating.answer = real


def store(items: int, page_items: int, speed: float) -> None:
    """The rest of an evaluation, the same again, and the page of a large one."""
    with tempfile.TemporaryDirectory() as folder:
        os.environ["PHI3_HOME"], os.environ["PHI3_USER"] = folder, "bench"
        os.environ.pop("MLFLOW_TRACKING_URI", None)
        config = load_settings()
        _register(config)
        prompt_sets.save_set(config, "bench", set_of("a", items))
        prompt_sets.save_set(config, "page", set_of("b", page_items))
        refs = [f"bench/{number}" for number in range(1, VERSIONS + 1)]
        answers = items * TOKENS / speed
        with made_up_answers(config.parallel * TOKENS / speed):  # as many at once as a version writes
            used = time.process_time()
            rest = _timed(config, "bench", refs[:1]) - answers
            used = time.process_time() - used
        each = used / items * 1000  # milliseconds
        told = f"{rest:.1f} s more than {answers:.0f} s at {speed:.0f} tokens/s, {each:.0f} ms of processor each"
        row("the rest of an evaluation / the time of its answers", rest / answers, 0.25, False, told)
        with made_up_answers():
            row("the same evaluation again, seconds", _timed(config, "bench", refs[:1]), 2, False, "")
            found = evaluating.evaluate(config, None, "page", refs)  # type: ignore[arg-type]
        page(config, found.run.run_id, page_items)


def _timed(config: Settings, name: str, refs: list[str]) -> float:
    started = time.perf_counter()
    evaluating.evaluate(config, None, name, refs)  # type: ignore[arg-type]
    return time.perf_counter() - started


def _register(config: Settings) -> None:
    """Versions of a model without files."""
    registry = mlflow_client(config)
    registry.create_registered_model("bench")
    for _ in range(VERSIONS):
        registry.create_model_version("bench", "file:///nowhere")


def page(config: Settings, run_id: str, items: int) -> None:
    """From the address of a result, in an app that is warm, to what the page says first, and to its chart."""
    with app(config) as url, browser.chromium() as opened:
        first, whole = [], []
        for number in range(6):
            tab = opened.new_page()
            started = time.perf_counter()
            tab.goto(f"{url}/evaluate?run={run_id}")
            tab.get_by_role("heading", name="Evaluate").wait_for(timeout=60_000)
            first.append(time.perf_counter() - started)
            tab.get_by_text(f"{items:,} items").first.wait_for(timeout=120_000)
            whole.append(time.perf_counter() - started)
            if not number:
                print(f"    cold: {first[0]:.1f} s, with its result {whole[0]:.1f} s", flush=True)
            tab.close()
        told = f"warm, median of 5; with its result {median(whole[1:]):.1f} s"
        row(f"the page of {items:,} items × {VERSIONS}, seconds to first content", median(first[1:]), 1, False, told)


def model(ref: str) -> float:
    """Versions at once, and the shipped set: tokens/s in all."""
    config = load_settings()
    version = reader.get_version(config, ref)
    with Pool(config) as pool:
        server = pool.open(version)
        server.wait_ready()
        alone = median([ask(client(server.url, server.key), ref, STORY, TOKENS).speed for _ in range(3)])
        started = time.perf_counter()
        found = evaluating.evaluate(config, pool, "everyday", [ref], {"max_tokens": 256, "temperature": 0}, again=True)
        took = time.perf_counter() - started
        usage = [
            info.trace_metadata["mlflow.trace.tokenUsage"] for info in results.answers_of(config, found.run.run_id)
        ]
        speed = sum(json.loads(one)["output_tokens"] for one in usage) / took
        told = f"{speed:.0f}, {alone:.0f}"
        row("the shipped set, tokens/s in all / one conversation alone", speed / alone, 2.5, True, told)
        others = [one for one in reader.list_versions(config, version.name) if one.wrapper == "onnx"][:VERSIONS]
        if len(others) < 2:
            print("    one ONNX version only: build more of them to measure several at once")
            return speed
        servers = [pool.open(one) for one in others]
        for one in servers:
            one.wait_ready()
        each = [_seconds(one.url, one.key, one.ref) for one in servers]
        started = time.perf_counter()
        threads = [start_thread(lambda one=one: _seconds(one.url, one.key, one.ref)) for one in servers]
        for thread in threads:
            thread.join()
        at_once = time.perf_counter() - started
        told = f"{at_once:.1f} s, {sum(each):.1f} s"
        row(f"{len(servers)} versions at once / the sum of each alone", at_once / sum(each), 1.1, False, told)
    return speed


def _seconds(url: str, key: str, ref: str) -> float:
    started = time.perf_counter()
    ask(client(url, key), ref, STORY, TOKENS)
    return time.perf_counter() - started


def main() -> None:
    words = sys.argv[1:]
    if words[:1] == ["--store"]:
        items = int(words[1]) if len(words) > 1 else ITEMS
        return store(items, PAGE_ITEMS if items == ITEMS else items, ASSUMED)
    speed = model(words[0] if words else "phi3-embedded/2")
    return store(ITEMS, PAGE_ITEMS, speed)


if __name__ == "__main__":
    main()
