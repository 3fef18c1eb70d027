"""How a model server treats several conversations at once, and how evenly its tokens come."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

import httpx

from phi3core.registry.models import Version
from phi3core.serving.handle import ModelServer

from .clients import STORY, Timed, ask, client
from .tables import alternate, median, row

TOKENS, ROUNDS = 200, 5


def gaps(server: ModelServer, version: Version) -> None:
    """How evenly tokens come."""
    openai = client(server.url, server.key)
    seen = sorted(gap for _ in range(ROUNDS) for gap in ask(openai, version.ref, STORY, TOKENS).gaps)
    worst, middle = seen[int(len(seen) * 0.99)], median(seen)
    told = f"{worst * 1000:.1f} ms, {middle * 1000:.1f} ms"
    row("gap between tokens, 99th percentile / median", worst / middle, 3, False, told)


def silence(server: ModelServer, version: Version) -> None:
    """What others see while a prompt of 3,000 tokens is read."""
    long = [{"role": "user", "content": f"{time.time()} " + "The sea is wide and deep. " * 430}]
    other, reading = Timed(0), Timed(0)
    talker = _thread(lambda: ask(client(server.url, server.key), version.ref, STORY, 600, other))
    while len(other.times) < 20:
        time.sleep(0.02)
    started = time.perf_counter()
    reader = _thread(lambda: ask(client(server.url, server.key), version.ref, long, 2, reading))
    slowest = 0.0
    with httpx.Client() as health:
        while not reading.times and reader.is_alive():
            asked = time.perf_counter()
            health.get(f"{server.url}/health", timeout=30)
            slowest = max(slowest, time.perf_counter() - asked)
            time.sleep(0.02)
    ended = reading.times[0]
    during = [at for at in other.times if started <= at <= ended]
    quiet = max(b - a for a, b in zip([started, *during], [*during, ended], strict=False))
    told = f"the prompt took {ended - started:.1f} s; the other conversation got {len(during)} tokens meanwhile"
    row("longest silence of /health while 3,000 tokens are read, seconds", slowest, 0.5, False, "")
    row("longest silence of another conversation meanwhile, seconds", quiet, 0.5, False, told)
    for thread in (talker, reader):
        thread.join()


def together(server: ModelServer, version: Version) -> None:
    """Eight conversations at once."""
    shares: list[float] = []

    def eight() -> float:
        total, share = _eight(server, version)
        shares.append(share)
        return total

    speeds = alternate(
        {"one": lambda: ask(client(server.url, server.key), version.ref, STORY, 100).speed, "eight": eight}, rounds=3
    )
    told = f"{speeds['eight']:.0f}, {speeds['one']:.0f} tokens/s"
    row("8 conversations at once, total / one alone", speeds["eight"] / speeds["one"], 2.3, True, told)
    row("the slowest of them / the fastest", min(shares), 0.75, True, "")


def _eight(server: ModelServer, version: Version) -> tuple[float, float]:
    """Tokens/s of all while all are writing, and the slowest one's speed as a part of the fastest one's."""
    answers = [Timed(0) for _ in range(8)]

    def one(number: int) -> None:
        messages = [{"role": "user", "content": f"Write a long story about island {number}."}]
        ask(client(server.url, server.key), version.ref, messages, 100, answers[number], seed=number)

    threads = [_thread(lambda number=number: one(number)) for number in range(8)]
    for thread in threads:
        thread.join()
    begun = max(answer.times[0] for answer in answers)  # from when all are writing
    first_end = min(answer.times[-1] for answer in answers)  # until the first has ended
    written = sum(sum(begun <= at <= first_end for at in answer.times) for answer in answers)
    speeds = [answer.speed for answer in answers]
    return written / (first_end - begun), min(speeds) / max(speeds)


def _thread(work: Callable[[], Any]) -> threading.Thread:
    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    return thread
