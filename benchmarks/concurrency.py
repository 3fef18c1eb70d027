"""How evenly a model server's tokens come, and what others see while a long prompt is read."""

from __future__ import annotations

import time

import httpx

from phi3core.registry.models import Version
from phi3core.serving.handle import ModelServer

from .clients import STORY, Timed, ask, client
from .crowds import start_thread
from .tables import median, row

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
    talker = start_thread(lambda: ask(client(server.url, server.key), version.ref, STORY, 600, other))
    while len(other.times) < 20:
        time.sleep(0.02)
    started = time.perf_counter()
    reader = start_thread(lambda: ask(client(server.url, server.key), version.ref, long, 2, reading))
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
    row("longest silence of another conversation meanwhile, seconds", quiet, 0.15, False, told)
    for thread in (talker, reader):
        thread.join()
