"""Reading the Model Registry: models, their versions, and what a version reference means.

Never one call per row: a model's versions take three calls, whatever their number. Aliases come from the
registered model, because MLflow leaves them out of the versions it lists. Writing is in promotion.py.
"""

from __future__ import annotations

import contextlib
import json
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

from . import cache as prepared
from . import keys
from .errors import BadInput, NotFound
from .settings import Settings
from .store import client, errors, without_password

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

    @property
    def production(self) -> int | None:
        return self.aliases.get("production")

    @property
    def staging(self) -> int | None:
        return self.aliases.get("staging")


@dataclass(frozen=True)
class Version:
    """A model version. metrics are its source run's; source is MLflow's URI of the logged model."""

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

    @property
    def ref(self) -> str:
        return f"{self.name}/{self.version}"

    @property
    def wrapper(self) -> str:
        """``transformers``, ``onnx``, or empty when neither of our wrappers made it."""
        return self.tags.get(keys.WRAPPER, "")

    @property
    def size(self) -> int | None:
        """Bytes of the logged model, where its tags tell."""
        text = self.tags.get(keys.SIZE, "")
        return int(text) if text.isdigit() else None

    @property
    def precision(self) -> str:
        return self.tags.get(keys.PRECISION, "")


@dataclass(frozen=True)
class Reference:
    """What a person wrote to name a version: exactly one of number, alias and stage is set."""

    name: str
    number: int | None = None
    alias: str | None = None
    stage: str | None = None

    def __str__(self) -> str:
        """The one way to write it: a reserved alias as its stage, a number without zeros."""
        if self.number is not None:
            return f"{self.name}/{self.number}"
        stage = self.stage or keys.RESERVED_ALIASES.get(self.alias or "")
        return f"{self.name}/{stage}" if stage else f"{self.name}@{self.alias}"


@dataclass(frozen=True)
class Detail:
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


def split(text: str) -> Reference:
    """Read ``name/3``, ``name@alias`` or ``name/Production``, split at the last ``/`` or ``@``. Raises BadInput."""
    at = max(text.rfind("/"), text.rfind("@"))
    name, selector = text[:at].strip(), text[at + 1 :].strip()
    if at < 1 or not name or not selector:
        raise BadInput(f"“{text}” names no version. Write name/3, name@alias or name/Production.")
    if text[at] == "@":
        return Reference(name, alias=(keys.RESERVED_ALIASES.get(selector.lower()) and selector.lower()) or selector)
    if selector.isdecimal():
        return Reference(name, number=int(selector))
    stage = selector.capitalize()
    if stage in ("Production", "Staging"):
        return Reference(name, stage=stage)
    if stage in keys.STAGES:
        raise BadInput(f"Many versions can be {stage}: name one of them by its number, as in {name}/3.")
    raise BadInput(
        f"“{selector}” is neither a version number nor a stage. Write {name}/3, {name}/Production, {name}/Staging "
        f"or, for an alias, {name}@{selector}."
    )


def resolve(settings: Settings, text: str) -> Version:
    """The concrete version that a reference means now. Stages are resolved by their alias. Raises NotFound."""
    reference = split(text)
    aliases = _aliases(settings, reference.name)
    if reference.number is not None:
        number = reference.number
    else:
        alias = reference.alias or str(reference.stage).lower()
        if alias not in aliases:
            raise NotFound(_no_alias(reference, aliases))
        number = aliases[alias]
    store = client(settings)
    try:
        if number > 2**31 - 1:
            raise NotFound("No store counts so far.")
        with errors(settings):
            found = store.get_model_version(reference.name, str(number))
    except NotFound as error:
        raise NotFound(
            f"{reference.name} has no version {number}. “python -m phi3core models {reference.name}” lists them."
        ) from error
    return _version(found, aliases, _run_of(settings, found.run_id)[0])


def _run_of(settings: Settings, run_id: str | None) -> tuple[dict[str, float], dict[str, str], str]:
    """Metrics, parameters and experiment of a source run; empty when it was deleted for good."""
    if run_id:
        with contextlib.suppress(NotFound), errors(settings):
            run = client(settings).get_run(run_id)
            return dict(run.data.metrics), dict(run.data.params), str(run.info.experiment_id)
    return {}, {}, ""


def _no_alias(reference: Reference, aliases: dict[str, int]) -> str:
    if reference.stage:
        return f"No version of {reference.name} is in {reference.stage} yet. Promote one first."
    named = ", ".join(f"@{alias}" for alias in sorted(aliases)) or "none yet"
    return f"{reference.name} has no alias @{reference.alias}. Its aliases: {named}."


def models(settings: Settings) -> list[Model]:
    """All registered models, most recently changed first."""
    found: list[Model] = []
    token = None
    with errors(settings):
        while True:
            page = client(settings).search_registered_models(max_results=1000, page_token=token)
            found += [_model(model) for model in page]
            token = page.token
            if not token:
                return sorted(found, key=lambda model: model.updated, reverse=True)


def versions(settings: Settings, name: str) -> list[Version]:
    """All versions of a model, newest first, with stage, aliases and metrics. Raises NotFound."""
    store = client(settings)
    aliases = _aliases(settings, name)
    quote = '"' if "'" in name else "'"  # MLflow's filters know no escape
    with errors(settings):
        found: list[ModelVersion] = []
        token = None
        while True:
            page = store.search_model_versions(f"name={quote}{name}{quote}", max_results=1000, page_token=token)
            found += page
            token = page.token
            if not token:
                break
        metrics = _metrics(settings, [version.run_id for version in found if version.run_id])
    listed = [_version(version, aliases, metrics.get(version.run_id or "", {})) for version in found]
    return sorted(listed, key=lambda version: version.version, reverse=True)


def detail(settings: Settings, version: Version) -> Detail:
    """Signature, parameters and flavors of one version."""
    import mlflow

    _, parameters, experiment_id = _run_of(settings, version.run_id)
    try:
        info = mlflow.models.get_model_info(f"models:/{version.ref}")
    except Exception as error:  # whatever an artifact store raises: the rest of the page must still show
        reason = f"The model's own files can't be read: {str(error).splitlines()[0] if str(error) else error!r}"
        return Detail({}, parameters, (), experiment_id, {}, reason)
    signature = {}
    if info.signature:
        for part, text in info.signature.to_dict().items():
            signature[part] = json.loads(text) if text else []
    options = ((info.metadata or {}).get("phi3") or {}).get("options") or {}
    return Detail(signature, parameters, tuple(info.flavors), experiment_id, dict(options))


def as_json(value: Model | Version) -> dict[str, Any]:
    """A plain dictionary, dates in ISO 8601, for ``--json``."""
    plain: dict[str, Any] = {
        name: item.isoformat() if isinstance(item, datetime) else item for name, item in asdict(value).items()
    }
    if isinstance(value, Version):
        plain |= {"ref": value.ref, "wrapper": value.wrapper, "size_bytes": value.size}
    else:
        plain |= {"production": value.production, "staging": value.staging}
    return plain


def _aliases(settings: Settings, name: str) -> dict[str, int]:
    try:
        with errors(settings):
            return _alias_numbers(client(settings).get_registered_model(name))
    except NotFound as error:
        store = without_password(settings.tracking_uri, settings.tracking_uri)
        raise NotFound(
            f"There is no registered model “{name}” in {store}. “python -m phi3core models” lists them."
        ) from error


def _alias_numbers(model: RegisteredModel) -> dict[str, int]:
    return {alias: int(number) for alias, number in (model.aliases or {}).items()}


def _metrics(settings: Settings, run_ids: list[str]) -> dict[str, dict[str, float]]:
    """Metrics by run id, in one call for every hundred runs, whichever experiments the runs are in."""
    from mlflow.entities import ViewType

    store = client(settings)
    if not run_ids:
        return {}
    experiments = [e.experiment_id for e in store.search_experiments(view_type=ViewType.ALL, max_results=1000)]
    found: dict[str, dict[str, float]] = {}
    unique = sorted(set(run_ids))
    for start in range(0, len(unique), 100):
        listed = ",".join(f"'{run_id}'" for run_id in unique[start : start + 100])
        runs = store.search_runs(experiments, f"attributes.run_id IN ({listed})", ViewType.ALL, max_results=100)
        found |= {run.info.run_id: dict(run.data.metrics) for run in runs}
    return found


def _model(model: RegisteredModel) -> Model:
    return Model(
        name=model.name,
        description=model.description or "",
        created=_when(model.creation_timestamp),
        updated=_when(model.last_updated_timestamp or model.creation_timestamp),
        aliases=_alias_numbers(model),
        newest=max((int(version.version) for version in model.latest_versions or []), default=None),
    )


def _version(version: ModelVersion, aliases: dict[str, int], metrics: dict[str, float]) -> Version:
    number = int(version.version)
    return Version(
        name=version.name,
        version=number,
        stage=version.current_stage or "None",
        aliases=tuple(sorted(alias for alias, at in aliases.items() if at == number)),
        description=version.description or "",
        tags=dict(version.tags or {}),
        created=_when(version.creation_timestamp),
        run_id=version.run_id or "",
        source=version.source or "",
        status=version.status or "",
        metrics=metrics,
    )


def _when(milliseconds: int | None) -> datetime:
    return datetime.fromtimestamp((milliseconds or 0) / 1000, UTC)


def _column(column: dict[str, Any]) -> str:
    name, kind = column.get("name", ""), str(column.get("type", ""))
    optional = "" if column.get("required", True) else ", optional"
    return f"{name}: {kind}{optional}" if name else kind


def artifact_uri(settings: Settings, version: Version) -> str:
    """Where a version's files are: a path or URI that MLflow's artifact stores understand."""
    store = client(settings)
    with errors(settings):
        if version.source.startswith("models:/m-"):
            return str(store.get_logged_model(version.source.removeprefix("models:/")).artifact_location)
        return str(store.get_model_version_download_uri(version.name, str(version.version)))


def local_folder(settings: Settings, version: Version) -> Path | None:
    """The version's files where the store keeps them on this machine; None when they must be downloaded."""
    uri = urlsplit(artifact_uri(settings, version))
    if uri.scheme not in ("", "file"):
        return None
    folder = Path(unquote(uri.path))
    if not (folder / "MLmodel").is_file():
        again = "Build the version again." if version.wrapper else "Put the files back, or log and register it again."
        raise NotFound(f"The files of {version.ref} are gone: {folder} holds no model. {again}")
    return folder


def download(settings: Settings, version: Version) -> Path:
    """The version's files on this machine, downloaded once and kept in the cache."""
    import mlflow

    if folder := local_folder(settings, version):
        return folder

    def make(part: Path) -> None:
        with errors(settings):
            mlflow.artifacts.download_artifacts(f"models:/{version.ref}", dst_path=str(part))

    key = prepared.key_of(settings.tracking_uri, version.ref, version.source)
    return prepared.entry(settings.cache, "versions", key, make)
