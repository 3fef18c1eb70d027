"""The single steps that change a registered model's aliases and stages, and the lock that is held around them."""

from __future__ import annotations

import contextlib
import random
import time
from collections.abc import Iterator
from pathlib import Path

from filelock import FileLock, Timeout

from phi3core import tags
from phi3core.errors import Conflict
from phi3core.hashing import hash_texts
from phi3core.settings import Settings
from phi3core.store.client import find_abilities, mlflow_client, translate_errors

_TRIES = 8


def assign(settings: Settings, name: str, alias: str, number: int) -> None:
    """Point an alias at a version. Where two processes create it at once, MLflow fails one of them: it tries again."""
    if alias in tags.RESERVED_ALIASES and not find_abilities(settings).aliases:
        return transition(settings, name, number, tags.RESERVED_ALIASES[alias])
    for attempt in range(_TRIES):
        try:
            with translate_errors(settings):
                mlflow_client(settings).set_registered_model_alias(name, alias, str(number))
            return None
        except Conflict:
            if attempt == _TRIES - 1:
                raise
            pause(attempt)
    return None


def remove(settings: Settings, name: str, alias: str) -> None:
    """Remove an alias, wherever it points."""
    with translate_errors(settings):
        mlflow_client(settings).delete_registered_model_alias(name, alias)


def transition(settings: Settings, name: str, number: int, stage: str) -> None:
    """Give a version a stage, and leave all others where they are."""
    if find_abilities(settings).stages:
        with translate_errors(settings):
            # Never archive_existing_versions: it reads, then writes, and asking for it on None is an error.
            mlflow_client(settings).transition_model_version_stage(name, str(number), stage)


def pause(attempt: int) -> None:
    """Sleep a moment that grows with every attempt, and differs between processes that wait for each other."""
    time.sleep(random.uniform(0.3, 1.0) * min(0.05 * 2**attempt, 1.0))  # noqa: S311 - no secret


def lock_path(settings: Settings, name: str) -> Path:
    """The file that a process locks while it changes a model. It is a hash: a model's name may be too long."""
    return settings.locks / f"promote-{hash_texts(name)[:16]}.lock"


@contextlib.contextmanager
def locked(settings: Settings, name: str, patience: float = 30) -> Iterator[None]:
    """No other process of this machine changes the model meanwhile. Raises Conflict after so many seconds."""
    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(FileLock(lock_path(settings, name), timeout=patience))
        except Timeout as error:
            raise Conflict(
                f"Another promotion of {name} has been running for {patience:g} s. Wait for it and try again."
            ) from error
        yield
