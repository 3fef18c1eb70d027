"""A registered model's aliases and stages: read at one moment, passed on as data, and changed in single steps.

The alias is the truth, and while a model has no reserved one MLflow's stage speaks (`registry.models.Places`). In a
store without aliases the highest version in a stage always stands in for the alias; in one without stages a version's
stage is what its alias says.
"""

from __future__ import annotations

import contextlib
import random
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from filelock import FileLock, Timeout

from phi3core import tags
from phi3core.errors import Conflict, NotFound
from phi3core.hashing import hash_texts
from phi3core.promotion.record.history import History
from phi3core.registry import reader
from phi3core.registry.models import Places, Run, Version, find_holders, version_from_mlflow
from phi3core.registry.reference import Reference
from phi3core.settings import Settings
from phi3core.store.client import Abilities, find_abilities, mlflow_client, search_pages, translate_errors
from phi3core.timestamps import from_ms

if TYPE_CHECKING:
    from mlflow.entities.model_registry import ModelVersion

EXCLUSIVE_STAGES = tuple(tags.RESERVED_ALIASES.values())
"""The stages that at most one version holds: Production and Staging."""
_TRIES = 8


@dataclass(frozen=True)
class ModelStages:
    """A registered model as two calls of the store told it.

    aliases: version numbers; in a store without aliases the reserved ones are what the stages say. stages: MLflow's, by
    version number. head: the seal of the model's latest record, "" for none.
    policy: the text of its tag ``phi3.policy``, "" for none.
    """

    name: str
    aliases: dict[str, int]
    stages: dict[int, str]
    head: str = ""
    policy: str = ""
    able: Abilities = field(default_factory=Abilities)
    entities: tuple[ModelVersion, ...] = ()

    @cached_property
    def places(self) -> Places:
        """What every reader of the registry finds."""
        own = self.aliases if self.able.aliases else {}
        return Places(own, find_holders(self.aliases, self.stages))

    @property
    def stages_speak(self) -> bool:
        """Whether MLflow's stages say what is in Production, because the model has no reserved alias."""
        return self.able.aliases and not any(alias in self.aliases for alias in tags.RESERVED_ALIASES)

    def holder(self, stage: str) -> int | None:
        """The version that has the stage's alias. `places.holders` has the one that is in the stage."""
        return self.aliases.get(stage.lower())

    def stage_by_alias(self, number: int) -> str:
        """The stage that a version's reserved aliases demand, Production where it has both, "" where it has none."""
        return next((stage for stage in EXCLUSIVE_STAGES if self.holder(stage) == number), "")

    def number(self, reference: Reference) -> int | None:
        """The version that a reference names, None where there is none."""
        number = reference.number_in(self.places.aliases, self.places.holders)
        return number if number in self.stages else None

    def version(self, number: int, run: Run | None = None) -> Version:
        """A version as plain data. run: its source run, whose metrics it is given. Raises NotFound."""
        entity = next((entity for entity in self.entities if int(entity.version) == number), None)
        if entity is None:
            raise NotFound(f"{self.name} has no version {number}.")
        return self._version(entity, run or Run())

    def versions(self, runs: Mapping[str, Run] | None = None) -> list[Version]:
        """All versions, newest first. runs: source runs by id, whose metrics they are given."""
        found = [self._version(entity, (runs or {}).get(entity.run_id or "", Run())) for entity in self.entities]
        return sorted(found, key=lambda version: version.version, reverse=True)

    def _version(self, entity: ModelVersion, run: Run) -> Version:
        return version_from_mlflow(entity, self.places, run, self.able.stages)

    def updated(self, number: int) -> datetime | None:
        """When the store changed a version last."""
        return _time(next((e.last_updated_timestamp for e in self.entities if int(e.version) == number), None))

    def created(self, number: int) -> datetime | None:
        """When a version was registered."""
        return _time(next((e.creation_timestamp for e in self.entities if int(e.version) == number), None))


@dataclass(frozen=True)
class Snapshot:
    """What one phase of a promotion knows of its model."""

    state: ModelStages
    history: History


def _time(milliseconds: int | None) -> datetime | None:
    return from_ms(milliseconds) if milliseconds else None


def read_state(settings: Settings, name: str) -> ModelStages:
    """A model in two calls of the store: first its aliases, then its stages. Raises NotFound."""
    able, store = find_abilities(settings), mlflow_client(settings)
    quote = '"' if "'" in name else "'"  # MLflow's filters know no escape
    where = f"name={quote}{name}{quote}"
    try:
        with translate_errors(settings):
            model = store.get_registered_model(name)
        pages = search_pages(settings, lambda **page: store.search_model_versions(where, **page))
        entities = tuple(version for page in pages for version in page)
    except NotFound:
        reader.list_versions(settings, name)  # raises the sentence for it
        raise
    aliases = {alias: int(number) for alias, number in (model.aliases or {}).items()}
    stages = {int(entity.version): entity.current_stage or "None" for entity in entities}
    if not able.aliases:
        aliases = {stage.lower(): number for stage, number in find_holders({}, stages).items()}
    if not able.stages:
        bare = ModelStages(name, aliases, {})
        stages = {number: bare.stage_by_alias(number) or "None" for number in stages}
    tag_values = model.tags or {}
    return ModelStages(
        name, aliases, stages, tag_values.get(tags.RECORD, ""), tag_values.get(tags.POLICY, ""), able, entities
    )


# ---------------------------------------------------------------- single steps


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


class LockHeld(Conflict):
    """Another process of this machine changes the model."""


@contextlib.contextmanager
def locked(settings: Settings, name: str, patience: float = 30) -> Iterator[None]:
    """No other process of this machine changes the model meanwhile. Raises LockHeld after so many seconds."""
    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(FileLock(lock_path(settings, name), timeout=patience))
        except Timeout as error:
            raise LockHeld(
                f"Another promotion of {name} has been running for {patience:g} s. Wait for it and try again."
            ) from error
        yield
