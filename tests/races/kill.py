"""A promoter in a process of its own that is killed by SIGKILL right after one of the calls it makes of the store.

And a judge of what the next look makes of what it left.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from phi3core.promotion.aliases import ModelStages, read_state
from phi3core.promotion.promote import promote
from phi3core.promotion.reconcile import mismatches, reconcile
from phi3core.promotion.record import search, timeline
from phi3core.promotion.rollback import rollback
from phi3core.settings import Settings
from phi3core.store import client as client_module
from phi3core.store.client import mlflow_client
from tests.races.race import CONTEXT, enter
from tests.support.fakes import register

WRITES = (
    "create_run",
    "log_batch",
    "set_terminated",
    "set_registered_model_tag",
    "set_registered_model_alias",
    "delete_registered_model_alias",
    "transition_model_version_stage",
    "delete_model_version",
    "create_model_version",
)


class _Deadly:
    """A client that kills its process after the call with this number, of those that count."""

    def __init__(self, real: Any, last: int, counted: tuple[str, ...]) -> None:
        self._real, self._left, self._counted = real, last, counted

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._real, name)

        def called(*args: Any, **kwargs: Any) -> Any:
            answer = method(*args, **kwargs)
            if not self._counted or name in self._counted:
                self._left -= 1
                if self._left == 0:
                    os.kill(os.getpid(), signal.SIGKILL)
            return answer

        return called


def _act(home: Path, uri: str, act: Callable[[Settings], object], last: int, counted: tuple[str, ...]) -> None:
    settings = enter(home, uri, "victim")
    deadly = _Deadly(mlflow_client(settings), last, counted)
    client_module._client = lambda _: deadly  # type: ignore[assignment]
    act(settings)


def killed(
    settings: Settings, act: Callable[[Settings], object], last: int, home: Path | None = None, all_calls: bool = False
) -> bool:
    """Act in another process and kill it after its call with this number, of all or of those that write.

    False where it was through before. home: of the machine it is on, the settings' own if none is given.
    """
    arguments = (home or settings.home, settings.tracking_uri, act, last, () if all_calls else WRITES)
    process = CONTEXT.Process(target=_act, args=arguments, daemon=True)
    process.start()
    process.join(120)
    assert process.exitcode in (0, -signal.SIGKILL), process.exitcode
    return process.exitcode != 0


# ---------------------------------------------------------------- what is done, and what must come of it


def move(settings: Settings, ref: str, stage: str) -> None:
    promote(settings, ref, stage)


def back(settings: Settings, model: str) -> None:
    rollback(settings, model, "it was worse")


def prepare(settings: Settings, name: str) -> None:
    """name/1 archived, name/2 in Production, name/3 in Staging, name/4 in none."""
    for _ in range(4):
        register(settings, name)
    for number, stage in ((1, "Production"), (2, "Production"), (3, "Staging")):
        promote(settings, f"{name}/{number}", stage)


ACTS: dict[str, Callable[[str], Callable[[Settings], None]]] = {
    "from Staging to Production": lambda name: partial(move, ref=f"{name}/3", stage="Production"),
    "from None to Staging": lambda name: partial(move, ref=f"{name}/4", stage="Staging"),
    "back to the version before": lambda name: partial(back, model=name),
    "from Production to None": lambda name: partial(move, ref=f"{name}/2", stage="None"),
}


def judge(settings: Settings, name: str, act: str, before: ModelStages, when: str) -> None:
    """Look, and raise AssertionError unless all is in order: either nothing has happened, or all of it.

    before: how it was when the promoter began who was killed.
    """
    left = read_state(settings, name)
    seen = reconcile(settings, name)
    after = read_state(settings, name)
    what = f"{when}: {before.stages} {left.aliases} {left.stages} {seen.messages} {after.stages}"
    assert after.aliases == left.aliases or set(left.aliases) - set(after.aliases) == {"staging"}, what
    assert mismatches(settings, name) == [], what
    assert reconcile(settings, name).messages == [], what
    told = search.of_model(settings, name)
    assert "open" not in {record.status for record in told}, what
    assert "found" not in {record.action for record in told}, what  # nothing was changed from outside
    for stage in ("Production", "Staging"):
        assert timeline.holder(told, stage) == after.holder(stage), what
    assert search.verify(settings, name) == [], what
    if "from Production" not in act:
        assert left.holder("Production") is not None, what
    happened = after.aliases != before.aliases
    own = next((record for record in told if record.user == "victim"), None)
    if own is not None:
        assert own.status == ("done" if happened else "interrupted"), what
    if not happened:
        assert after.stages == before.stages, what
