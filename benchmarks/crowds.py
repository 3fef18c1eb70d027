"""Many conversations at once, of a model server and of rivals: what all get together, and how fairly."""

from __future__ import annotations

import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from . import rivals
from .clients import Target, Timed
from .tables import median, row

TOKENS, ROUNDS = 100, 3
COUNTS = (1, 8, 16)
OURS, THEIRS = "model server", "llama-server"
LONG = {1024: 1.9, 3500: 1.4}  # tokens of context: what eight must get against one


@dataclass(frozen=True)
class Crowd:
    """What so many conversations got that were begun at once.

    total: tokens per second of all while all were writing. fairness: the slowest one's speed by the fastest one's.
    last_first: seconds until all had their first token. unevenness: the gaps' 99th percentile by their median.
    """

    total: float
    fairness: float
    last_first: float
    unevenness: float


def stories(count: int, context: int = 0) -> list[list[dict[str, str]]]:
    """Messages of so many conversations, of about 30 tokens or so many."""
    filling = "The sea is wide and deep. " * (context // 7)
    return [[{"role": "user", "content": f"{filling}Write a long story about island {at}."}] for at in range(count)]


def crowd(target: Target, asked: list[list[dict[str, str]]], tokens: int = TOKENS) -> Crowd:
    """Ask for one answer to each at the same moment."""
    answers = [Timed(0) for _ in asked]

    def one(number: int) -> None:
        target.ask(asked[number], tokens, answers[number], seed=number)

    for thread in [start_thread(lambda number=number: one(number)) for number in range(len(asked))]:
        thread.join()
    begun = max(answer.times[0] for answer in answers)  # from when all are writing
    ended = min(answer.times[-1] for answer in answers)  # until the first has ended
    writing = [[at for at in answer.times if begun <= at <= ended] for answer in answers]
    speeds = [answer.speed for answer in answers]
    gaps = sorted(b - a for times in writing for a, b in pairwise(times))
    return Crowd(
        sum(len(times) - 1 for times in writing) / (ended - begun),
        min(speeds) / max(speeds),
        begun - min(answer.asked for answer in answers),
        gaps[int(len(gaps) * 0.99)] / median(gaps),
    )


def compare(ours: Target, rival: Target | None, gguf: Path) -> None:
    """One, eight and sixteen conversations with short prompts, of us and of rivals in turns."""
    sides = {OURS: ours} | ({THEIRS: rival} if rival else {})
    seen: dict[tuple[str, int], list[Crowd]] = defaultdict(list)
    others: list[list[float]] = []
    for number in range(ROUNDS + 1):
        for count in COUNTS:
            for name, target in sides.items():
                one = crowd(target, stories(count))
                if number:  # the first round does not count
                    seen[name, count].append(one)
        if rival and number:
            prompts = [messages[0]["content"] for messages in stories(max(COUNTS))]
            others.append(rivals.openvino(gguf, prompts, TOKENS, *COUNTS))
    for name in sides:
        told = ", ".join(f"{_middle(seen[name, count], 'total'):.0f} for {count}" for count in COUNTS)
        print(f"    {name}: tokens/s in all: {told}")
    mine = {count: _middle(seen[OURS, count], "total") for count in COUNTS}
    row("8 conversations at once, total / one alone", mine[8] / mine[1], 2.3, True, "")
    row("the slowest of them / the fastest", _middle(seen[OURS, 8], "fairness"), 0.85, True, "")
    row("gap between tokens with 8, 99th percentile / median", _middle(seen[OURS, 8], "unevenness"), 3, False, "")
    if not rival:
        return
    for count, limit in ((1, 1.15), (8, 1.5), (16, 1.9)):
        ratio = mine[count] / _middle(seen[THEIRS, count], "total")
        row(f"{count} at once, model server / llama-server, same client", ratio, limit, True, "")
    first = {name: _middle(seen[name, 8], "last_first") for name in sides}
    told = f"{first[OURS] * 1000:.0f} ms, {first[THEIRS] * 1000:.0f} ms"
    row("the last first token of 8 / llama-server's", first[OURS] / first[THEIRS], 1.0, False, told)
    openvino = [median(column) for column in zip(*others, strict=True)]
    told = ", ".join(f"{speed:.0f} for {count}" for count, speed in zip(COUNTS, openvino, strict=True))
    row("8 at once, model server / openvino-genai in its process", mine[8] / openvino[1], 0.85, True, told)


def contexts(target: Target, memory: Callable[[], int], token_bytes: int) -> None:
    """Eight against one where much was said already, and the memory that these eight take then.

    memory: bytes that the server takes. token_bytes: what a token of its context takes.
    """
    for context, limit in LONG.items():
        before = memory()
        asked, seen = stories(8, context), defaultdict[int, list[float]](list)
        for number in range(ROUNDS + 1):
            for count in (1, 8):
                total = crowd(target, asked[:count], 60).total
                if number:
                    seen[count].append(total)
        alone, eight = median(seen[1]), median(seen[8])
        told = f"{eight:.0f}, {alone:.0f} tokens/s"
        row(f"8 at once after {context:,} tokens / one alone", eight / alone, limit, True, told)
        need, taken = 8 * (context + 60) * token_bytes, memory() - before
        told = f"{taken / 1e6:,.0f}, {need / 1e6:,.0f} MB"
        row(f"memory that these 8 added, kept / what {context:,} tokens each need", taken / need, 1.3, False, told)


def batch(target: Target) -> None:
    """Two hundred prompts of 30 tokens, eight at a time, against the same one after the other (a tenth of them)."""
    asked, numbers = stories(200), iter(range(200))

    def some() -> None:
        for number in numbers:
            target.ask(asked[number], 128, seed=number)

    began = time.perf_counter()
    for thread in [start_thread(some) for _ in range(8)]:
        thread.join()
    together = (time.perf_counter() - began) / len(asked)
    began = time.perf_counter()
    for number in range(20):
        target.ask(asked[number], 128, seed=1000 + number)
    alone = (time.perf_counter() - began) / 20
    told = f"{together:.2f}, {alone:.2f} s for each"
    row("200 prompts, one after the other / eight at a time", alone / together, 2.5, True, told)


def start_thread(work: Callable[[], Any]) -> threading.Thread:
    """A thread that runs this."""
    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    return thread


def _middle(crowds: Iterable[Crowd], name: str) -> float:
    return median(getattr(one, name) for one in crowds)
