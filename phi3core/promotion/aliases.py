"""A registered model's aliases and stages at one moment, and the single steps that change them.

The alias is the truth. In a store without aliases the highest version in a stage stands in for it; in one without
stages a version's stage is what its alias says. Knows nothing of records.
"""

from __future__ import annotations

import contextlib
import random
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from filelock import FileLock, Timeout

from phi3core import tags
from phi3core.errors import Conflict
from phi3core.hashing import hash_texts
from phi3core.registry import reader
from phi3core.registry.models import Run, Version, aliases_from_stages, version_from_mlflow
from phi3core.settings import Settings
from phi3core.store.client import Abilities, find_abilities, mlflow_client, search_pages, translate_errors
from phi3core.timestamps import from_ms

if TYPE_CHECKING:
    from mlflow.entities.model_registry import ModelVersion

HELD = tuple(tags.RESERVED_ALIASES.values())
"""The stages that one version holds at most: Production and Staging."""
_TRIES = 8


@dataclass(frozen=True)
class State:
    """What two calls told. stages: by version number. head: the seal of the model's latest record, "" for none."""

    name: str
    aliases: dict[str, int]
    stages: dict[int, str]
    head: str
    able: Abilities
    found: tuple[ModelVersion, ...]

    def holder(self, stage: str) -> int | None:
        """The version that has the stage's alias."""
        return self.aliases.get(stage.lower())

    def right(self, number: int) -> str:
        """The stage that a version's reserved aliases demand, Production where it has both, "" where it has none."""
        return next((stage for stage in HELD if self.holder(stage) == number), "")

    def touched(self, number: int) -> datetime | None:
        """When the store changed a version last."""
        return _when(next((v.last_updated_timestamp for v in self.found if int(v.version) == number), None))

    def made(self, number: int) -> datetime | None:
        """When a version was registered."""
        return _when(next((v.creation_timestamp for v in self.found if int(v.version) == number), None))


def _when(milliseconds: int | None) -> datetime | None:
    return from_ms(milliseconds) if milliseconds else None


def read_state(settings: Settings, name: str) -> State:
    """Aliases first, then stages. Raises NotFound."""
    able, store = find_abilities(settings), mlflow_client(settings)
    quote = '"' if "'" in name else "'"  # MLflow's filters know no escape
    with translate_errors(settings):
        model = store.get_registered_model(name)
    where = f"name={quote}{name}{quote}"
    pages = search_pages(settings, lambda **page: store.search_model_versions(where, **page))
    found = [version for page in pages for version in page]
    aliases = (
        {alias: int(number) for alias, number in (model.aliases or {}).items()}
        if able.aliases
        else aliases_from_stages(found)
    )
    bare = State(name, aliases, {}, "", able, ())
    stages = {int(v.version): v.current_stage or "None" for v in found}
    if not able.stages:
        stages = {number: bare.right(number) or "None" for number in stages}
    return State(name, aliases, stages, (model.tags or {}).get(tags.RECORD, ""), able, tuple(found))


def versions_of(settings: Settings, state: State) -> list[Version]:
    """The versions with their metrics, newest first."""
    runs = reader.get_runs(settings, (found.run_id for found in state.found))
    listed = [
        version_from_mlflow(found, state.aliases, runs.get(found.run_id or "", Run()), state.able.stages)
        for found in state.found
    ]
    return sorted(listed, key=lambda version: version.version, reverse=True)


def point(settings: Settings, name: str, alias: str, number: int) -> None:
    """Point an alias at a version. Where two create it at once, MLflow fails one of them: it tries again."""
    if alias in tags.RESERVED_ALIASES and not find_abilities(settings).aliases:
        return move(settings, name, number, tags.RESERVED_ALIASES[alias])
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


def unpoint(settings: Settings, name: str, alias: str) -> None:
    """Remove an alias, wherever it points."""
    with translate_errors(settings):
        mlflow_client(settings).delete_registered_model_alias(name, alias)


def move(settings: Settings, name: str, number: int, stage: str) -> None:
    """Give a version a stage, and leave all others where they are."""
    if find_abilities(settings).stages:
        with translate_errors(settings):
            # Never archive_existing_versions: it reads, then writes, and asking for it on None is an error.
            mlflow_client(settings).transition_model_version_stage(name, str(number), stage)


def pause(attempt: int) -> None:
    """A moment that grows with every attempt, and differs between those who wait for each other."""
    time.sleep(random.uniform(0.3, 1.0) * min(0.05 * 2**attempt, 1.0))  # noqa: S311 - no secret


def lock_of(settings: Settings, name: str) -> Path:
    """The file that whoever changes a model on this machine holds locked. A model's name may be too long for a file."""
    return settings.locks / f"promote-{hash_texts(name)[:16]}.lock"


@contextlib.contextmanager
def locked(settings: Settings, name: str, patience: float = 30) -> Iterator[None]:
    """Nobody else of this machine changes the model meanwhile. Raises Conflict when somebody does all the time."""
    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(FileLock(lock_of(settings, name), timeout=patience))
        except Timeout as error:
            raise Conflict(
                f"Another promotion of {name} has been running for {patience:g} s. Wait for it and try again."
            ) from error
        yield
