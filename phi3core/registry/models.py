"""What the Model Registry holds, as plain data: models, versions and their runs.

Knows MLflow's entities, and asks no store.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any

from phi3core import tags
from phi3core.timestamps import from_ms

if TYPE_CHECKING:
    from mlflow.entities.model_registry import ModelVersion, RegisteredModel


@dataclass(frozen=True)
class Model:
    """A registered model. production and staging are version numbers, by alias; newest is the highest one."""

    name: str
    description: str
    created: datetime
    updated: datetime
    aliases: dict[str, int]
    newest: int | None
    tags: dict[str, str] = field(default_factory=dict)

    @property
    def production(self) -> int | None:
        return self.aliases.get("production")

    @property
    def staging(self) -> int | None:
        return self.aliases.get("staging")


@dataclass(frozen=True)
class Version:
    """A model version. metrics are its source run's; source is MLflow's URI of the logged model.

    owner: who made it, by its tag phi3.user, else its run's; empty where neither names one. In a store without stages,
    stage is what the reserved aliases say; in one without aliases, the reserved two are what the stages say.
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

    @property
    def ref(self) -> str:
        return f"{self.name}/{self.version}"

    @property
    def effective_stage(self) -> str:
        """The stage that it is in by the aliases, which are the truth: MLflow's stage may have been changed outside."""
        held = next((stage for alias, stage in tags.RESERVED_ALIASES.items() if alias in self.aliases), "")
        return held or ("None" if self.stage in tags.RESERVED_ALIASES.values() else self.stage)

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
    """What a version takes from its source run."""

    metrics: dict[str, float] = field(default_factory=dict)
    parameters: dict[str, str] = field(default_factory=dict)
    experiment_id: str = ""
    owner: str = ""


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
        plain |= {"ref": value.ref, "wrapper": value.wrapper, "size_bytes": value.size}
    else:
        plain |= {"production": value.production, "staging": value.staging}
    return plain


def model_from_mlflow(found: RegisteredModel, aliases: dict[str, int]) -> Model:
    """A registered model as plain data. aliases: from `aliases_from_mlflow`."""
    return Model(
        name=found.name,
        description=found.description or "",
        created=from_ms(found.creation_timestamp or 0),
        updated=from_ms(found.last_updated_timestamp or found.creation_timestamp or 0),
        aliases=aliases,
        newest=max((int(version.version) for version in found.latest_versions or []), default=None),
        tags=dict(found.tags or {}),
    )


def version_from_mlflow(found: ModelVersion, aliases: dict[str, int], run: Run, stages: bool = True) -> Version:
    """A model version as plain data.

    Args:
        aliases: all of its model.
        run: its source run.
        stages: whether the store has stages.
    """
    number = int(found.version)
    own = tuple(sorted(alias for alias, at in aliases.items() if at == number))
    held = next((tags.RESERVED_ALIASES[alias] for alias in own if alias in tags.RESERVED_ALIASES), "None")
    tag_values = dict(found.tags or {})
    return Version(
        name=found.name,
        version=number,
        stage=(found.current_stage or "None") if stages else held,
        aliases=own,
        description=found.description or "",
        tags=tag_values,
        created=from_ms(found.creation_timestamp or 0),
        run_id=found.run_id or "",
        source=found.source or "",
        status=found.status or "",
        metrics=run.metrics,
        owner=tag_values.get(tags.USER) or run.owner or found.user_id or "",
    )


def aliases_from_mlflow(found: RegisteredModel, aliases: bool = True) -> dict[str, int]:
    """A model's version numbers by alias. aliases: whether the store has them; else its stages stand in for them."""
    if aliases:
        return {alias: int(number) for alias, number in (found.aliases or {}).items()}
    return aliases_from_stages(found.latest_versions or [])


def aliases_from_stages(versions: Sequence[ModelVersion]) -> dict[str, int]:
    """The reserved aliases of a store that has none: for each stage the number of its highest version.

    It is what ``models:/name/Production`` gives in MLflow, and all that a list of models holds of its versions.
    """
    numbers: dict[str, int] = {}
    for alias, stage in tags.RESERVED_ALIASES.items():
        if in_stage := [int(version.version) for version in versions if version.current_stage == stage]:
            numbers[alias] = max(in_stage)
    return numbers


def _column(column: dict[str, Any]) -> str:
    name, kind = column.get("name", ""), str(column.get("type", ""))
    optional = "" if column.get("required", True) else ", optional"
    return f"{name}: {kind}{optional}" if name else kind
