"""Which server gives its memory to the next version, and what is said where there is too little."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from phi3core import tags
from phi3core.errors import Busy, ServerError
from phi3core.registry import artifacts
from phi3core.registry.models import Version
from phi3core.serving.pool import Pool
from tests.support.clock import ManualClock
from tests.support.fake_child import Children


@pytest.fixture
def machine(make_pool: Callable[..., Pool], started: Children) -> Callable[..., Pool]:
    """A pool on a machine with so many megabytes, of which every model server takes 600."""
    started.resident = 600_000_000

    def make(megabytes: int, **options: Any) -> Pool:
        return make_pool(available=lambda: (megabytes - 600 * len(started.alive)) * 1_000_000, **options)

    return make


def test_the_least_recently_used_goes_where_memory_is_short(
    machine: Callable[..., Pool], named: Callable[..., Version], clock: ManualClock
) -> None:
    pool = machine(1300)
    versions = [named(name) for name in ("a", "b", "c")]
    first = pool.open(versions[0])
    first.wait_ready()
    clock.advance(1)
    second = pool.open(versions[1])
    second.wait_ready()
    clock.advance(1)
    pool.open(versions[0])  # used again, so that b is the one that waits longest

    third = pool.open(versions[2])
    third.wait_ready()

    assert pool.running() == [first, third]
    assert second.status().reason == ("It was stopped to make room for c/1. It starts again when it is opened.")


def test_nothing_is_stopped_while_there_is_room(machine: Callable[..., Pool], named: Callable[..., Version]) -> None:
    pool = machine(2500)
    for name in ("a", "b", "c"):
        pool.open(named(name)).wait_ready()

    assert len(pool.running()) == 3


def test_a_version_that_this_machine_can_not_hold_starts_nothing(
    machine: Callable[..., Pool], named: Callable[..., Version]
) -> None:
    pool = machine(700)
    pool.open(named("small")).wait_ready()

    with pytest.raises(ServerError) as caught:
        pool.open(named("huge", size=7_200_000_000))

    assert str(caught.value) == (
        "huge/1 needs about 7.7 GB of memory, and 100 MB are free on this machine. "
        "End other programs, or open a smaller version."
    )
    assert [server.ref for server in pool.running()] == ["small/1"], "stopped in vain"


def test_nothing_is_stopped_for_a_version_that_what_it_gave_back_would_not_hold(
    machine: Callable[..., Pool], named: Callable[..., Version], started: Children
) -> None:
    pool = machine(700)
    small = pool.open(named("small"))
    small.wait_ready()
    started[0].resident = 100_000_000  # it takes less than was estimated

    with pytest.raises(ServerError, match="needs about 500 MB of memory, and 100 MB are free on this machine"):
        pool.open(named("other"))

    assert small.alive()


def test_what_answers_is_not_stopped_for_its_memory(
    machine: Callable[..., Pool], named: Callable[..., Version], started: Children
) -> None:
    pool = machine(700)
    server = pool.open(named("talker"))
    server.wait_ready()
    started[0].running = 1

    with pytest.raises(Busy) as caught:
        pool.open(named("other"))

    assert str(caught.value) == (
        "other/1 needs about 500 MB of memory, and 100 MB are free: talker/1 is in use. "
        "Try again when its answers have ended."
    )
    assert server.alive()
    started[0].running = 0
    pool.open(named("another")).wait_ready()
    assert [server.ref for server in pool.running()] == ["another/1"]


def test_what_is_in_use_or_loading_or_just_opened_is_not_stopped_for_its_memory(
    machine: Callable[..., Pool], named: Callable[..., Version], started: Children, clock: ManualClock
) -> None:
    pool = machine(700, timeouts={"grace": 10.0})
    started.loading = True
    other = named("other")
    loading = pool.open(named("loading"))
    clock.advance(60)
    with pytest.raises(Busy):
        pool.open(other)
    started[0].load()
    loading.wait_ready()

    with pytest.raises(Busy):
        pool.open(other)
    with loading.hold():
        clock.advance(60)
        with pytest.raises(Busy):
            pool.open(other)
    clock.advance(9)
    with pytest.raises(Busy):
        pool.open(other)
    clock.advance(1)

    started.loading = False
    pool.open(other).wait_ready()
    assert not loading.alive()


def test_two_that_are_opened_at_once_do_not_count_on_the_same_memory(
    make_pool: Callable[..., Pool], named: Callable[..., Version], started: Children
) -> None:
    started.loading = True
    pool = make_pool(available=lambda: 900_000_000)  # what loads has taken nothing yet
    pool.open(named("a"))

    with pytest.raises(Busy, match="b/1 needs about 500 MB of memory"):
        pool.open(named("b"))


def test_the_size_of_files_that_are_elsewhere_is_their_tag(
    machine: Callable[..., Pool], named: Callable[..., Version], monkeypatch: pytest.MonkeyPatch
) -> None:
    pool = machine(5000)
    monkeypatch.setattr(artifacts, "local_folder", lambda *_: None)
    far = replace(named("far"), source="s3://bucket/model", tags={tags.SIZE: "9000000000", tags.WRAPPER: "onnx"})

    with pytest.raises(ServerError, match=r"far/1 needs about 9.2 GB of memory, and 5.0 GB are free"):
        pool.open(far)


@pytest.mark.parametrize(
    ("written", "why"),
    [
        (2_000_000_001, "It had written more than 2.0 GB to the disk, so its process was ended."),
        (math.inf, "It had more than 10,000 files, or some that can't be counted, so its process was ended."),
    ],
)
def test_a_model_server_that_fills_the_disk_is_ended(
    pool: Pool, named: Callable[..., Version], started: Children, clock: ManualClock, written: float, why: str
) -> None:
    server = pool.open(named("writer"))
    server.wait_ready()
    started[0].written = 1_999_999_999
    pool.tend()
    assert server.alive()

    started[0].written = written
    clock.advance(4)
    pool.tend()
    assert (server.alive(), started[0].measured) == (True, 1), "it is measured as often as its health is asked for"
    clock.advance(1)
    pool.tend()

    assert server.status().reason == why
    assert not started[0].alive()
