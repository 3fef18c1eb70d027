"""Promoters in processes of their own, let loose at the same moment, and a judge of what they leave behind."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from phi3core.errors import Conflict
from phi3core.promotion.aliases import read_state
from phi3core.promotion.promote import promote
from phi3core.promotion.reconcile import reconcile
from phi3core.promotion.record import search, timeline
from phi3core.promotion.record.model import Record
from phi3core.settings import Settings, load_settings
from tests.support.fakes import register

# A fork of a server that has imported everything takes milliseconds, where a fresh process takes seconds.
CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(
    ["mlflow", "mlflow.store.tracking.sqlalchemy_store", "phi3core.promotion.policy.requests"]
)


@dataclass(frozen=True)
class Ended:
    """How a promoter ended: done, conflict, or error for any other exception. said: the error's text."""

    number: int
    how: str
    said: str


def enter(home: Path, uri: str, user: str) -> Settings:
    """The settings of a machine, in a process that plays it."""
    os.environ.update(PHI3_HOME=str(home), MLFLOW_TRACKING_URI=uri, PHI3_USER=user)
    os.environ.update(PHI3_CACHE=str(home / "cache"), PHI3_SECRETS=str(home / "no-secrets.toml"))
    return load_settings()


def _racer(home: Path, uri: str, user: str, orders: Connection, barrier: Any) -> None:
    settings = enter(home, uri, user)
    while order := orders.recv():
        name, number = order
        barrier.wait(60)
        try:
            promote(settings, f"{name}/{number}", "Production", reason="I want to win")
            orders.send(Ended(number, "done", ""))
        except Conflict as error:
            orders.send(Ended(number, "conflict", str(error)))
        except Exception as error:
            orders.send(Ended(number, "error", repr(error)))


class Race:
    """Promoters that wait for the start, each with its own version."""

    def __init__(self, settings: Settings, name: str, orders: list[Connection]) -> None:
        self.settings, self.name, self._orders = settings, name, orders
        self._turn = 0
        for _ in range(2 * len(orders)):
            register(settings, name)

    def run(self) -> list[Ended]:
        """All at once, with versions that are not in Production. How each one ended."""
        first = 1 + self._turn * len(self._orders)
        self._turn = 1 - self._turn
        for number, orders in enumerate(self._orders, start=first):
            orders.send((self.name, number))
        return [orders.recv() for orders in self._orders]


@contextmanager
def racers(settings: Settings, name: str, homes: list[Path]) -> Iterator[Race]:
    """A promoter for each home. Who shares a home shares its locks; others are on machines of their own."""
    barrier, processes, orders = CONTEXT.Barrier(len(homes)), [], []
    for number, home in enumerate(homes, start=1):
        here, there = CONTEXT.Pipe()
        process = CONTEXT.Process(
            target=_racer, args=(home, settings.tracking_uri, f"racer-{number}", there, barrier), daemon=True
        )
        process.start()
        processes.append(process)
        orders.append(here)
    try:
        yield Race(settings, name, orders)
        for one in orders:
            one.send(None)
        for process in processes:
            process.join(20)
    finally:
        for process in processes:
            process.kill()


def judge(race: Race, before: dict[int, str], ended: list[Ended]) -> None:
    """Raise AssertionError unless there is exactly one winner, all agree on it, and the records tell the same."""
    settings, name = race.settings, race.name
    now = read_state(settings, name)
    winner = now.holder("Production")
    told = search.page(settings, model=name, limit=200).records
    what = "\n".join([str(now.aliases), str(now.stages), *map(str, ended), *map(_line, told[: 2 * len(ended)])])

    assert [number for number, stage in now.stages.items() if stage == "Production"] == [winner], what
    assert "error" not in {one.how for one in ended}, what
    assert [one.how for one in ended if one.number == winner] == ["done"], what
    for one in ended:
        (record, *_) = [r for r in told if r.version == one.number and r.action == "promote"]
        assert record.status == {"done": "done", "conflict": "failed"}[one.how], what
        if one.how == "conflict":
            assert "at the same moment" in one.said, one.said
            assert "at the same moment" in record.outcome, record.outcome
            assert now.stages[one.number] == before[one.number], what
        elif one.number != winner:
            assert now.stages[one.number] == "Archived", what
    assert timeline.holder(told, "Production") == winner, what
    assert {r.action for r in told} == {"promote"}, what  # nothing had to be repaired, and nothing was from outside
    assert reconcile(settings, name).messages == [], what


def _line(record: Record) -> str:
    times = f"{record.started:%S.%f} to {record.ended:%S.%f}" if record.ended else f"{record.started:%S.%f}"
    return f"{record.ref} {record.old} → {record.new} {record.status} {times} {record.replaced} {record.outcome}"
