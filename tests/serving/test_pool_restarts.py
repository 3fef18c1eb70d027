"""What the pool does about processes that die or hang: it starts them again once, and ends what gives no answer."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from phi3core.errors import ServerError
from phi3core.registry.models import Version
from phi3core.serving.pool import Pool
from tests.support.clock import ManualClock
from tests.support.fake_child import Children


def test_what_dies_by_itself_is_started_again_once(
    pool: Pool, named: Callable[..., Version], started: Children
) -> None:
    version = named("fragile")
    first = pool.open(version)
    first.wait_ready()
    started[0].kill()

    pool.tend()
    (second,) = pool.running()
    second.wait_ready()
    assert second.pid != first.pid
    assert second.ref == first.ref
    assert second.status().detail == "started again: Its process was killed (signal 9)."
    assert "was killed (signal 9)" in first.status().reason

    started[1].kill()
    for _ in range(3):
        pool.tend()
    assert pool.running() == []
    assert [server.status().state for server in pool.servers()] == ["failed"]

    third = pool.open(version)
    third.wait_ready()
    assert third.status().state == "ready"


def test_a_death_long_after_the_last_one_is_a_first_one(
    pool: Pool, named: Callable[..., Version], started: Children, clock: ManualClock
) -> None:
    pool.open(named("fragile")).wait_ready()

    seen = set()
    for _ in range(3):
        (server,) = pool.running()
        server.wait_ready()
        seen.add(server.pid)
        started[-1].kill()
        clock.advance(300)
        pool.tend()

    assert len(seen) == 3


@pytest.mark.parametrize("signal", [6, 9])
def test_what_dies_while_it_loads_is_not_started_again(
    pool: Pool, named: Callable[..., Version], started: Children, signal: int
) -> None:
    started.loading = True
    pool.open(named("unlucky"))
    pool.tend()
    started[0].kill(signal)

    for _ in range(3):
        pool.tend()

    assert pool.running() == [], "loaded once more, it would fill the memory once more"


def test_what_was_closed_is_not_started_again(pool: Pool, named: Callable[..., Version]) -> None:
    server = pool.open(named("closed"))
    server.wait_ready()

    server.close()
    for _ in range(3):
        pool.tend()

    assert pool.running() == []
    assert server.status().reason == "It was closed."


def test_what_could_not_be_loaded_gives_its_memory_back(
    pool: Pool, named: Callable[..., Version], started: Children
) -> None:
    server = pool.open(named("broken"))
    started[0].status, started[0].error = "failed", "no such weights"

    with pytest.raises(ServerError, match="no such weights"):
        server.wait_ready()
    assert server.alive()
    pool.tend()

    assert not server.alive()
    assert "no such weights" in server.status().reason


# ---------------------------------------------------------------- hung


def test_a_server_that_hangs_is_ended_told_and_replaced(
    pool: Pool, named: Callable[..., Version], started: Children, clock: ManualClock
) -> None:
    server = pool.open(named("talker"))
    server.wait_ready()
    started[0].responsive = False
    clock.advance(5)
    pool.tend()
    clock.advance(59)
    pool.tend()
    assert server.alive()

    clock.advance(1)
    pool.tend()
    assert server.status().state == "failed"
    assert server.status().reason == "It stopped answering: nothing for 60 s, so its process was ended."
    assert (started[0].exit_code, started[0].patience) == (-9, 0)  # killed at once, and waited for
    pool.tend()

    (again,) = pool.running()
    again.wait_ready()
    assert again.status().detail.startswith("started again: It stopped answering")


def test_a_server_that_is_silent_says_so_before_it_is_ended(
    pool: Pool, named: Callable[..., Version], started: Children, clock: ManualClock
) -> None:
    server = pool.open(named("talker"))
    server.wait_ready()
    started[0].responsive = False
    clock.advance(5)
    pool.tend()
    assert server.status().detail == ""
    clock.advance(4)

    status = server.status()

    assert (status.state, status.detail) == ("ready", "no sign of life for 4 s")
    started[0].responsive = True
    pool.tend()
    assert server.status().detail == ""
    assert server.alive()


def test_a_server_that_hangs_while_it_loads_is_ended_and_told(
    pool: Pool, named: Callable[..., Version], started: Children, clock: ManualClock
) -> None:
    started.loading = True
    server = pool.open(named("held"))
    assert server.status().state == "loading"
    started[0].responsive = False
    pool.tend()  # since its last check it was doing something: its silence begins here

    for _ in range(2):
        clock.advance(60)
        pool.tend()

    with pytest.raises(ServerError, match="held/1 could not start. It stopped answering: nothing for"):
        server.wait_ready()
    assert not server.alive()
    for _ in range(3):
        pool.tend()
    assert pool.running() == []


@pytest.mark.parametrize("what", ["waiting", "computing"])
def test_a_server_that_is_slow_to_load_is_given_its_time(
    pool: Pool, named: Callable[..., Version], started: Children, clock: ManualClock, what: str
) -> None:
    """One that computes may hold the interpreter for so long that no health check is answered."""
    started.loading = True
    server = pool.open(named("slow"))
    started[0].responsive = what == "waiting"
    for _ in range(20):
        started[0].cpu_seconds += 0.1
        clock.advance(50)
        pool.tend()
    assert server.alive()
    assert server.status().state == "loading"

    started[0].responsive = True
    started[0].load()

    server.wait_ready()


def test_a_loaded_server_is_asked_how_it_is_every_few_seconds(
    pool: Pool, named: Callable[..., Version], started: Children, clock: ManualClock
) -> None:
    pool.open(named("talker")).wait_ready()
    before = started[0].checks

    for _ in range(20):
        clock.advance(0.5)
        pool.tend()

    assert started[0].checks - before == 2
