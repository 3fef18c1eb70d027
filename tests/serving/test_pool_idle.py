"""Servers that are not used are stopped; those that are asked, hold an answer or load are not."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest

from phi3core.registry.models import Version
from phi3core.serving.pool import Pool
from tests.support.clock import ManualClock
from tests.support.fake_child import Children

MINUTE = 60.0


def test_what_nobody_uses_is_stopped_and_opens_again(
    make_pool: Callable[..., Pool], named: Callable[..., Version], clock: ManualClock
) -> None:
    pool = make_pool(idle_minutes=20)
    version = named("lonely")
    server = pool.open(version)
    server.wait_ready()
    clock.advance(20 * MINUTE - 1)
    pool.tend()
    assert server.alive()

    clock.advance(1)
    pool.tend()

    assert pool.servers() == []
    assert not server.alive()
    assert server.status().reason == "It was stopped: nobody had used it for 20 minutes."
    again = pool.open(version)
    again.wait_ready()
    assert again.pid != server.pid


def test_what_is_opened_again_is_used(
    make_pool: Callable[..., Pool], named: Callable[..., Version], clock: ManualClock
) -> None:
    pool = make_pool(idle_minutes=1)
    version = named("used")
    server = pool.open(version)
    server.wait_ready()
    for _ in range(3):
        clock.advance(MINUTE - 1)
        assert pool.open(version) is server
        pool.tend()

    assert server.alive()


def test_what_answers_is_not_idle_however_long_it_takes(
    make_pool: Callable[..., Pool], named: Callable[..., Version], started: Children, clock: ManualClock
) -> None:
    pool = make_pool(idle_minutes=1)
    server = pool.open(named("slow"))
    server.wait_ready()
    started[0].running = 1
    for _ in range(5):
        clock.advance(2 * MINUTE)
        pool.tend()
        assert server.alive()

    started[0].running = 0
    clock.advance(MINUTE)
    pool.tend()

    assert pool.servers() == []


def test_what_is_held_is_not_idle(
    make_pool: Callable[..., Pool], named: Callable[..., Version], clock: ManualClock
) -> None:
    pool = make_pool(idle_minutes=1)
    server = pool.open(named("used"))

    with server.hold():
        server.wait_ready()
        clock.advance(10 * MINUTE)
        pool.tend()
        assert pool.running() == [server]
    pool.tend()
    assert pool.running() == [server]  # its idle time begins now

    clock.advance(MINUTE)
    pool.tend()

    assert pool.running() == []


def test_an_answer_that_comes_late_does_not_undo_a_newer_one(
    pool: Pool, named: Callable[..., Version], started: Children, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = pool.open(named("any"))
    server.wait_ready()
    ask_health, slow, asked = started[0].health, threading.Event(), threading.Event()

    def late(_: float) -> dict[str, Any]:
        asked.set()
        assert slow.wait(20)
        return {"status": "loading"}

    monkeypatch.setattr(started[0], "health", late)
    first = threading.Thread(target=server.check_health, args=(20,))
    first.start()
    assert asked.wait(20)
    clock.advance(1)
    monkeypatch.setattr(started[0], "health", ask_health)
    server.check_health(20)
    slow.set()
    first.join()

    assert server.ready


def test_what_is_loading_is_not_idle(
    make_pool: Callable[..., Pool], named: Callable[..., Version], started: Children, clock: ManualClock
) -> None:
    started.loading = True
    pool = make_pool(idle_minutes=1)
    server = pool.open(named("slow"))
    for _ in range(5):
        clock.advance(2 * MINUTE)
        pool.tend()
    started[0].load()

    server.wait_ready()
    pool.tend()

    assert server.alive()
