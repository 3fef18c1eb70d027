"""A promoter in a process of its own that is killed by SIGKILL right after one of the calls it makes of the store."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

from phi3core import store
from phi3core.settings import Settings

from .racing import CONTEXT, enter

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
    deadly = _Deadly(store.client(settings), last, counted)
    store._client = lambda _: deadly  # type: ignore[assignment]
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
