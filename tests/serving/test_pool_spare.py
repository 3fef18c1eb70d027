"""The spare child: started while nothing loads, given to the next version, replaced."""

from __future__ import annotations

from collections.abc import Callable

from phi3core.registry.models import Version
from phi3core.serving.pool import Pool
from tests.support.clock import ManualClock
from tests.support.fake_child import Children


def test_a_spare_child_is_taken_by_the_next_open_and_replaced(
    make_pool: Callable[..., Pool], named: Callable[..., Version], started: Children
) -> None:
    pool = make_pool(spare=True)
    pool.tend()
    (spare,) = started.alive

    server = pool.open(named("first"))
    assert server.pid == spare.pid
    server.wait_ready()

    pool.tend()
    (replaced,) = [child for child in started.alive if child is not spare]
    assert pool.running() == [server]
    assert pool.open(named("second")).pid == replaced.pid


def test_warming_up_starts_a_spare_child_where_none_was_asked_for(
    make_pool: Callable[..., Pool], started: Children
) -> None:
    pool = make_pool()
    pool.warm()

    pool.tend()

    assert len(started.alive) == 1


def test_the_first_open_brings_a_spare_child_once_it_has_loaded(
    make_pool: Callable[..., Pool], named: Callable[..., Version], started: Children
) -> None:
    started.loading = True
    pool = make_pool(spare=True)
    server = pool.open(named("first"))
    assert server.status().state == "loading"
    for _ in range(3):
        pool.tend()
    assert [child.pid for child in started.alive] == [server.pid], "a spare child would slow down what is waited for"

    started[0].load()
    pool.tend()

    assert len(started.alive) == 2


def test_a_pool_that_was_not_asked_to_keeps_no_spare_child(
    pool: Pool, named: Callable[..., Version], started: Children
) -> None:
    server = pool.open(named("only"))
    server.wait_ready()
    for _ in range(3):
        pool.tend()

    assert [child.pid for child in started.alive] == [server.pid]


def test_a_spare_child_that_has_died_is_not_given_out(
    make_pool: Callable[..., Pool], named: Callable[..., Version], started: Children
) -> None:
    pool = make_pool(spare=True)
    pool.tend()
    (spare,) = started.alive
    spare.kill()

    server = pool.open(named("first"))
    server.wait_ready()

    assert server.pid != spare.pid


def test_a_spare_child_that_died_is_replaced_and_one_that_dies_again_is_not_replaced_at_once(
    make_pool: Callable[..., Pool], started: Children, clock: ManualClock
) -> None:
    pool = make_pool(spare=True)
    pool.tend()
    started[0].kill()
    pool.tend()
    assert len(started) == 2
    started[1].kill()

    pool.tend()
    clock.advance(59)
    pool.tend()
    assert len(started) == 2
    clock.advance(1)
    pool.tend()

    assert len(started) == 3
