"""What a model server's state says: how far it has loaded, whether it answers, why it failed."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from phi3core.errors import ServerError, StoreDown
from phi3core.registry import artifacts
from phi3core.registry.models import Version
from phi3core.serving.pool import Pool
from tests.support.clock import ManualClock
from tests.support.fake_child import Children
from tests.support.fakes import until


def test_loading_tells_how_much_of_the_model_is_in_memory(
    pool: Pool, named: Callable[..., Version], started: Children
) -> None:
    started.loading = True
    server = pool.open(named("large", size=120_000_000))
    details = []
    for taken in (0, 10_000_000, 70_000_000, 119_000_000, 130_000_000):
        started[0].resident = started[0].base + taken
        assert server.status().state == "loading"
        details.append(server.status().detail)
    started[0].load()

    assert server.status().state == "ready"
    assert details == ["0 of 120 MB", "10 of 120 MB", "70 of 120 MB", "119 of 120 MB", "120 of 120 MB"]


def test_files_that_are_elsewhere_are_downloading_until_they_are_here(
    pool: Pool, named: Callable[..., Version], started: Children, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    here = threading.Event()
    monkeypatch.setattr(artifacts, "local_folder", lambda *_: None)
    monkeypatch.setattr(artifacts, "download", lambda *_: here.wait(20) and tmp_path)
    started.loading = True
    server = pool.open(replace(named("far"), source="s3://bucket/model"))
    assert (server.status().state, server.status().detail) == ("loading", "downloading")
    assert started[0].order == {}, "it is told nothing yet"
    assert started[0].checks == 0, "nor asked"

    here.set()
    until(lambda: started[0].order)

    assert started[0].order["artifact"] == str(tmp_path)
    assert (server.status().state, server.status().detail) == ("loading", "")


def test_files_that_cannot_be_had_are_told_as_the_servers_failure(
    pool: Pool, named: Callable[..., Version], started: Children, monkeypatch: pytest.MonkeyPatch
) -> None:
    def gone(*_: object) -> Path:
        raise StoreDown("The store is away.")

    monkeypatch.setattr(artifacts, "local_folder", lambda *_: None)
    monkeypatch.setattr(artifacts, "download", gone)
    server = pool.open(replace(named("far"), source="s3://bucket/model"))

    until(lambda: not started[0].alive())

    assert (server.status().state, server.status().reason) == ("failed", "The store is away.")


def test_what_answers_is_busy_and_ready_after(
    pool: Pool, named: Callable[..., Version], started: Children, clock: ManualClock
) -> None:
    server = pool.open(named("talker"))
    server.wait_ready()
    assert server.status().state == "ready"

    started[0].running = 1
    clock.advance(1.1)
    busy = server.status()
    started[0].running, started[0].waiting = 2, 3
    clock.advance(1.1)
    queued = server.status()
    started[0].running = started[0].waiting = 0
    clock.advance(1.1)

    assert busy.open
    assert (busy.state, busy.detail) == ("busy", "1 answer")
    assert (queued.state, queued.detail) == ("busy", "2 answers, 3 waiting")
    assert server.status().state == "ready"


def test_a_page_that_asks_every_moment_makes_the_child_answer_once_a_second(
    pool: Pool, named: Callable[..., Version], started: Children, clock: ManualClock
) -> None:
    server = pool.open(named("talker"))
    server.wait_ready()
    before = started[0].checks

    for _ in range(50):
        clock.advance(0.1)
        server.status()

    assert started[0].checks - before <= 5


def test_a_failure_tells_the_last_lines_of_its_own_log(
    pool: Pool, named: Callable[..., Version], started: Children
) -> None:
    version = named("unlucky")
    started.loading = True
    for _ in range(2):
        server = pool.open(version)
        with server.log.open("a") as log:
            log.write("one\ntwo\n\nthree\n")
        server.check_health(1)
        started[-1].kill(6)

        with pytest.raises(ServerError) as caught:
            server.wait_ready()

    text = str(caught.value)
    assert "was killed (signal 6) while the model was loading" in text
    assert text.endswith("one\ntwo\nthree")
    assert text.count("one") == 1, "the words of the process before this one are not its own"


def test_a_process_that_the_system_kills_while_it_loads_points_at_memory(
    pool: Pool, named: Callable[..., Version], started: Children
) -> None:
    started.loading = True
    server = pool.open(named("large", size=1_500_000_000))
    started[0].kill(9)

    assert server.status().reason == (
        "Its process was killed (signal 9) while the model was loading. Most likely memory ran out: the model needs "
        "about 2.0 GB."
    )


def test_a_process_that_ends_by_itself_tells_its_exit_status(
    pool: Pool, named: Callable[..., Version], started: Children
) -> None:
    server = pool.open(named("mortal"))
    server.wait_ready()
    started[0].exit_code = 3

    assert server.status().reason == "Its process ended (exit status 3)."


def test_one_that_does_not_load_in_time_is_given_up(
    pool: Pool, named: Callable[..., Version], started: Children, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    started.loading = True
    server = pool.open(named("slow"))
    monkeypatch.setattr(clock, "sleep", clock.advance)

    with pytest.raises(ServerError, match=r"slow/1 has not loaded after 600 s\. Its log is "):
        server.wait_ready()
