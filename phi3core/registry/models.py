"""What the Model Registry holds, as plain data: models, versions and their runs.

Knows MLflow's entities, and asks no store.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any

from phi3core import tags
from phi3core.timestamps import from_ms

from .conditions import Conditions
from .reference import Reference

if TYPE_CHECKING:
    from mlflow.entities.model_registry import ModelVersion, RegisteredModel


@dataclass(frozen=True)
class Model:
    """A registered model.

    aliases: version numbers, as the store has them. holders: the numbers of the versions in Production and in Staging,
    by stage (`Places`). newest: the highest number.
    """

    name: str
    description: str
    created: datetime
    updated: datetime
    aliases: dict[str, int]
    holders: dict[str, int]
    newest: int | None
    tags: dict[str, str] = field(default_factory=dict)

    @property
    def production(self) -> int | None:
        return self.holders.get("Production")

    @property
    def staging(self) -> int | None:
        return self.holders.get("Staging")

    @property
    def references(self) -> dict[str, int]:
        """The version numbers by what else names them: ``name/Production``, ``name/Staging``, then ``name@alias``."""
        stages = {str(Reference(self.name, stage=stage)): number for stage, number in self.holders.items()}
        own = {
            alias: number
            for alias, number in sorted(self.aliases.items())
            if alias.lower() not in tags.RESERVED_ALIASES
        }
        return stages | {str(Reference(self.name, alias=alias)): number for alias, number in own.items()}


@dataclass(frozen=True)
class Places:
    """What a model's aliases and stages say of its versions, in numbers.

    aliases: as the store has them. holders: by stage, the version in Production and the one in Staging. The reserved
    aliases say it; while the model has neither of them, MLflow's stages do, and of several versions in one the highest
    is there, as it is for ``models:/name/Production``.
    """

    aliases: dict[str, int]
    holders: dict[str, int]


@dataclass(frozen=True)
class Version:
    """A model version. metrics are its source run's; source is MLflow's URI of the logged model.

    stage: the one that it is in (`Places` says by what). mlflow_stage: what MLflow's own stage says, which may have
    been changed outside; the same in a store without stages. owner: who made it, by its tag phi3.user, else its run's;
    empty where neither names one. measured: the conditions of its metrics; None where none were recorded.
    """

    name: str
    version: int
    stage: str
    aliases: tuple[str, ...]
    description: str
    tags: dict[str, str]
    created: datetime
    run_id: str
    source: str
    status: str
    metrics: dict[str, float]
    owner: str = ""
    mlflow_stage: str = "None"
    measured: Conditions | None = None

    @property
    def ref(self) -> str:
        return f"{self.name}/{self.version}"

    @property
    def contrary_stage(self) -> str:
        """What MLflow's stage says where that is not the stage that it is in; else ""."""
        return self.mlflow_stage if self.mlflow_stage != self.stage else ""

    @property
    def lacks_alias(self) -> bool:
        """Whether it is in Production or Staging by MLflow's stage alone."""
        return self.stage in tags.RESERVED_ALIASES.values() and self.stage.lower() not in self.aliases

    @property
    def wrapper(self) -> str:
        """``transformers``, ``onnx``, or empty when neither of our wrappers made it."""
        return self.tags.get(tags.WRAPPER, "")

    @property
    def size(self) -> int | None:
        """Bytes of the logged model, where its tags tell."""
        text = self.tags.get(tags.SIZE, "")
        return int(text) if text.isdigit() else None

    @property
    def precision(self) -> str:
        return self.tags.get(tags.PRECISION, "")


@dataclass(frozen=True)
class ModelSummary:
    """A line of the list of models: the model, and of its versions the one in Production, else the newest.

    version is None where the model has none, or where the store has no stages and does not say.
    """

    model: Model
    version: Version | None


@dataclass(frozen=True)
class ModelPage:
    """A page of the list of models. next_page_token: what to ask for the next page with; empty on the last."""

    summaries: tuple[ModelSummary, ...]
    next_page_token: str


@dataclass(frozen=True)
class Run:
    """What a version takes from its source run. measured: the conditions of the newest metrics."""

    metrics: dict[str, float] = field(default_factory=dict)
    parameters: dict[str, str] = field(default_factory=dict)
    experiment_id: str = ""
    owner: str = ""
    measured: Conditions | None = None


@dataclass(frozen=True)
class VersionDetails:
    """The parts of a version that are read only when it is opened."""

    signature: dict[str, Any]
    parameters: dict[str, str]
    flavors: tuple[str, ...]
    experiment_id: str
    options: dict[str, Any]
    """The generation options the version was logged with; empty when neither of our wrappers made it."""
    mlmodel_error: str = ""

    @cached_property
    def inputs(self) -> list[str]:
        return [_column(c) for c in self.signature.get("inputs") or []]

    @cached_property
    def outputs(self) -> list[str]:
        return [_column(c) for c in self.signature.get("outputs") or []]

    @cached_property
    def params(self) -> list[str]:
        return [f"{p['name']}: {p['type']} = {p['default']!r}" for p in self.signature.get("params") or []]


def to_dict(value: Model | Version) -> dict[str, Any]:
    """A plain dictionary, dates in ISO 8601, for ``--json``."""
    plain: dict[str, Any] = {
        name: item.isoformat() if isinstance(item, datetime) else item for name, item in asdict(value).items()
    }
    if isinstance(value, Version):
        measured = value.measured.to_dict() if value.measured else None
        plain |= {"ref": value.ref, "wrapper": value.wrapper, "size_bytes": value.size, "measured": measured}
    else:
        plain |= {"production": value.production, "staging": value.staging}
    return plain


def model_from_mlflow(found: RegisteredModel, places: Places) -> Model:
    """A registered model as plain data. places: from `places_from_mlflow`."""
    return Model(
        name=found.name,
        description=found.description or "",
        created=from_ms(found.creation_timestamp or 0),
        updated=from_ms(found.last_updated_timestamp or found.creation_timestamp or 0),
        aliases=places.aliases,
        holders=places.holders,
        newest=max((int(version.version) for version in found.latest_versions or []), default=None),
        tags=dict(found.tags or {}),
    )


def version_from_mlflow(found: ModelVersion, places: Places, run: Run, stages: bool = True) -> Version:
    """A model version as plain data.

    Args:
        places: of its model.
        run: its source run.
        stages: whether the store has stages.
    """
    number = int(found.version)
    own = tuple(sorted(alias for alias, at in places.aliases.items() if at == number))
    held = next((stage for stage, at in places.holders.items() if at == number), "")
    mlflow_stage = (found.current_stage or "None") if stages else held or "None"
    at_rest = "None" if mlflow_stage in tags.RESERVED_ALIASES.values() else mlflow_stage
    tag_values = dict(found.tags or {})
    return Version(
        name=found.name,
        version=number,
        stage=held or at_rest,
        aliases=own,
        description=found.description or "",
        tags=tag_values,
        created=from_ms(found.creation_timestamp or 0),
        run_id=found.run_id or "",
        source=found.source or "",
        status=found.status or "",
        metrics=run.metrics,
        owner=tag_values.get(tags.USER) or run.owner or found.user_id or "",
        mlflow_stage=mlflow_stage,
        measured=run.measured,
    )


def places_from_mlflow(found: RegisteredModel, aliases: bool = True) -> Places:
    """A model's places, as one reading of it tells them. aliases: whether the store has them."""
    own = {alias: int(number) for alias, number in (found.aliases or {}).items()} if aliases else {}
    stages = {int(version.version): version.current_stage or "None" for version in found.latest_versions or []}
    return Places(own, find_holders(own, stages))


def find_holders(aliases: Mapping[str, int], stages: Mapping[int, str]) -> dict[str, int]:
    """The versions in Production and in Staging, by stage: what `Places` says.

    Args:
        aliases: version numbers, {} in a store without aliases.
        stages: MLflow's stages by version number, of each stage's highest version at least.
    """
    if any(alias in aliases for alias in tags.RESERVED_ALIASES):
        return {stage: aliases[alias] for alias, stage in tags.RESERVED_ALIASES.items() if alias in aliases}
    there = {
        stage: [number for number, at in stages.items() if at == stage] for stage in tags.RESERVED_ALIASES.values()
    }
    return {stage: max(numbers) for stage, numbers in there.items() if numbers}


def _column(column: dict[str, Any]) -> str:
    name, kind = column.get("name", ""), str(column.get("type", ""))
    optional = "" if column.get("required", True) else ", optional"
    return f"{name}: {kind}{optional}" if name else kind
