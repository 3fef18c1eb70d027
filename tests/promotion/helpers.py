"""What tests of promotions read of a registered model, and clients of the store that fail."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from phi3core import tags
from phi3core.access.roles import Person
from phi3core.promotion.aliases import read_state
from phi3core.promotion.reconcile import reconcile
from phi3core.promotion.record import history, search, timeline, writer
from phi3core.registry import reader
from phi3core.settings import Settings
from phi3core.store import client as client_module
from phi3core.store.client import experiment_id, mlflow_client
from tests.races.kill import WRITES
from tests.support.fakes import CountingClient

ADA = Person("ada@example.org", "releaser")


ROOT = Person("root@example.org", "admin")


def stages(settings: Settings, name: str = "phi3") -> dict[int, str]:
    return read_state(settings, name).stages


def aliases(settings: Settings) -> dict[str, int]:
    return reader.list_models(settings)[0].aliases


def records(settings: Settings) -> list[Any]:
    """The records of promotions, oldest first."""
    runs = mlflow_client(settings).search_runs(
        [experiment_id(settings, tags.PROMOTIONS)], order_by=["attributes.start_time ASC"]
    )
    return list(runs)


class Refusing:
    """A client whose store refuses one kind of call."""

    def __init__(self, real: Any, refused: str) -> None:
        self._real, self._refused = real, refused

    def __getattr__(self, name: str) -> Any:
        if name == self._refused:
            return self._refuse
        return getattr(self._real, name)

    def _refuse(self, *_: object) -> None:
        from mlflow.exceptions import MlflowException

        raise MlflowException("the store refuses")


class Killed(BaseException):
    """What no code catches, as little as SIGKILL."""


class Dying:
    """A client whose process is killed right after the write with this number: every later call fails."""

    def __init__(self, real: Any, last: int) -> None:
        self._real, self._left = real, last

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._real, name)

        def called(*args: Any, **kwargs: Any) -> Any:
            if self._left == 0:
                raise Killed
            answer = method(*args, **kwargs)
            self._left -= name in WRITES
            if self._left == 0:
                raise Killed
            return answer

        return called


def dies(settings: Settings, last: int, act: Callable[[], object]) -> bool:
    """Whether it was killed: False where it was through before."""
    dying = Dying(mlflow_client(settings), last)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(client_module, "_client", lambda _: dying)
        try:
            act()
        except Killed:
            return True
    return False


def told(settings: Settings) -> list[tuple[str, str, str, str]]:
    """Action, version, from and to of what the looks recorded, oldest first."""
    listed = search.of_model(settings, "phi3")[::-1]
    return [(r.action, r.ref, r.old, r.new) for r in listed if r.action in ("found", "repair")]


def sound(settings: Settings) -> bool:
    """Whether a further look finds nothing, and the records and the aliases tell the same."""
    seen, now = reconcile(settings, "phi3"), read_state(settings, "phi3")
    listed = search.of_model(settings, "phi3")
    return (
        (seen.messages, seen.mismatches, seen.damage, seen.in_flight) == ([], [], [], [])
        and all(timeline.holder(listed, stage) == now.holder(stage) for stage in ("Production", "Staging"))
        and {record.status for record in listed} <= {"done", "failed", "interrupted"}
    )


def bury(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """More records than are read at first."""
    monkeypatch.setattr(history, "_RECENT", 5)
    for _ in range(6):
        writer.append(settings, ADA, model="phi3", version=1, action="request")


def count_calls(settings: Settings, act: Callable[[], object]) -> Counter[str]:
    """The calls that an act makes of the store's client, by name."""
    counting = CountingClient(mlflow_client(settings))
    others = client_module._client  # what another test has left running asks its own store
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(client_module, "_client", lambda asked: counting if asked == settings else others(asked))
        act()
    return counting.calls
