"""Reads registered models and their versions from the store.

Never one call per row: a model's versions take four calls, whatever their number. Aliases come from the
registered model, because MLflow leaves them out of the versions it lists.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from phi3core.errors import NotFound
from phi3core.settings import Settings
from phi3core.store.client import find_abilities, hide_password, mlflow_client, search_pages, translate_errors

from .conditions import Conditions, conditions_from_tags
from .models import (
    Model,
    ModelPage,
    ModelSummary,
    Places,
    Run,
    Version,
    VersionDetails,
    model_from_mlflow,
    places_from_mlflow,
    version_from_mlflow,
)
from .reference import Reference, parse_reference

if TYPE_CHECKING:
    import mlflow.entities
    from mlflow.entities.model_registry import ModelVersion, RegisteredModel


def get_version(settings: Settings, text: str) -> Version:
    """The version that a reference names now. A stage names the version that is in it, and its alias the same one.

    Args:
        text: ``name/3``, ``name@alias`` or ``name/Production``, also as MLflow writes them (``models:/name/3``).

    Raises:
        BadInput: the text is no reference.
        NotFound: the model, version or alias does not exist.
    """
    reference = parse_reference(text)
    places = _places(settings, reference.name)
    number = reference.number_in(places.aliases, places.holders)
    if number is None:
        raise NotFound(_not_named(reference, places.aliases))
    store = mlflow_client(settings)
    try:
        if number > 2**31 - 1:
            raise NotFound("No store counts so far.")
        with translate_errors(settings):
            found = store.get_model_version(reference.name, str(number))
    except NotFound as error:
        raise NotFound(
            f"{reference.name} has no version {number}. “python -m phi3core models {reference.name}” lists them."
        ) from error
    return version_from_mlflow(found, places, get_run(settings, found.run_id), find_abilities(settings).stages)


def list_models(settings: Settings) -> list[Model]:
    """All registered models, most recently changed first."""
    able = find_abilities(settings)
    pages = search_pages(settings, lambda **page: mlflow_client(settings).search_registered_models(**page))
    found = [model_from_mlflow(model, places_from_mlflow(model, able.aliases)) for page in pages for model in page]
    return sorted(found, key=lambda model: model.updated, reverse=True)


def search_models(settings: Settings, text: str = "", limit: int = 50, token: str = "") -> ModelPage:
    """A page of models, most recently changed first, each with a version and its metrics, in three calls.

    Args:
        text: a part of the name.
        limit: models on a page.
        token: `ModelPage.next_page_token` of the page before.
    """
    able = find_abilities(settings)
    quote = '"' if "'" in text else "'"  # MLflow's filters know no escape, but % stands for anything
    part = text.replace('"', "%") if quote == '"' else text
    with translate_errors(settings):
        page = mlflow_client(settings).search_registered_models(
            filter_string=f"name ILIKE {quote}%{part}%{quote}" if text else None,
            max_results=limit,
            order_by=["last_updated_timestamp DESC", "name ASC"],
            page_token=token or None,
        )
    places = {model.name: places_from_mlflow(model, able.aliases) for model in page}
    chosen = {model.name: _production_or_newest(model, places[model.name]) for model in page}
    runs = get_runs(settings, (version.run_id for version in chosen.values() if version))
    summaries = []
    for model in page:
        version = chosen[model.name]
        run = runs.get(version.run_id or "", Run()) if version else Run()
        summaries.append(
            ModelSummary(
                model_from_mlflow(model, places[model.name]),
                version_from_mlflow(version, places[model.name], run, able.stages) if version else None,
            )
        )
    return ModelPage(tuple(summaries), page.token or "")


def _production_or_newest(model: RegisteredModel, places: Places) -> ModelVersion | None:
    """Of the newest version of each stage, which MLflow gives with a model: the one in Production, else the newest."""
    given = {int(version.version): version for version in model.latest_versions or []}
    return given.get(places.holders.get("Production", 0)) or given.get(max(given, default=0))


def list_versions(settings: Settings, name: str) -> list[Version]:
    """All versions of a model, newest first, with stage, aliases and metrics. Raises NotFound."""
    able, places = find_abilities(settings), _places(settings, name)
    quote = '"' if "'" in name else "'"
    where = f"name={quote}{name}{quote}"
    pages = search_pages(settings, lambda **page: mlflow_client(settings).search_model_versions(where, **page))
    found = [version for page in pages for version in page]
    runs = get_runs(settings, (version.run_id for version in found))
    listed = [
        version_from_mlflow(version, places, runs.get(version.run_id or "", Run()), able.stages) for version in found
    ]
    return sorted(listed, key=lambda version: version.version, reverse=True)


def get_details(settings: Settings, version: Version) -> VersionDetails:
    """What is read only when a version is opened; what of its files can't be read is told in `mlmodel_error`."""
    import mlflow

    run = get_run(settings, version.run_id)
    try:
        info = mlflow.models.get_model_info(f"models:/{version.ref}")
    except Exception as error:  # artifact stores raise anything: the rest of the page must still show
        reason = f"The model's own files can't be read: {str(error).splitlines()[0] if str(error) else error!r}"
        return VersionDetails({}, run.parameters, (), run.experiment_id, {}, reason)
    signature = {}
    if info.signature:
        for part, text in info.signature.to_dict().items():
            signature[part] = json.loads(text) if text else []
    options = ((info.metadata or {}).get("phi3") or {}).get("options") or {}
    return VersionDetails(signature, run.parameters, tuple(info.flavors), run.experiment_id, dict(options))


def get_run(settings: Settings, run_id: str | None) -> Run:
    """A version's source run; an empty one when it was deleted for good."""
    if run_id:
        with contextlib.suppress(NotFound), translate_errors(settings):
            return _run_from_mlflow(mlflow_client(settings).get_run(run_id))
    return Run()


def get_runs(settings: Settings, run_ids: Iterable[str | None]) -> dict[str, Run]:
    """Source runs by id, of all experiments, in one call for every hundred."""
    return {run_id: run for part in get_runs_in_batches(settings, run_ids) for run_id, run in part.items()}


def get_runs_in_batches(settings: Settings, run_ids: Iterable[str | None]) -> Iterator[dict[str, Run]]:
    """As `get_runs`, a hundred at a time."""
    from mlflow.entities import ViewType

    unique = sorted({run_id for run_id in run_ids if run_id})
    if not unique:
        return
    pages = search_pages(
        settings, lambda **page: mlflow_client(settings).search_experiments(view_type=ViewType.ALL, **page)
    )
    experiments = [experiment.experiment_id for page in pages for experiment in page]
    for start in range(0, len(unique), 100):
        listed = ",".join(f"'{run_id}'" for run_id in unique[start : start + 100])
        with translate_errors(settings):
            runs = mlflow_client(settings).search_runs(
                experiments, f"attributes.run_id IN ({listed})", ViewType.ALL, max_results=100
            )
        yield {run.info.run_id: _run_from_mlflow(run) for run in runs}


def list_measurements(settings: Settings, run_id: str, metric: str) -> list[tuple[int, float, Conditions | None]]:
    """By step, every value of a source run's metric, with the conditions that it was measured under if recorded."""
    store = mlflow_client(settings)
    with translate_errors(settings):
        history = store.get_metric_history(run_id, metric)
        conditions = conditions_from_tags(store.get_run(run_id).data.tags)
    ordered = sorted(history, key=lambda point: (point.step, point.timestamp))
    values = {point.step: float(point.value) for point in ordered}  # of several in one step the last
    return [(step, value, conditions.get(step)) for step, value in values.items()]


def _run_from_mlflow(run: mlflow.entities.Run) -> Run:
    owner = run.data.tags.get("mlflow.user") or run.info.user_id or ""
    measured = next(reversed(conditions_from_tags(run.data.tags).values()), None)
    return Run(dict(run.data.metrics), dict(run.data.params), str(run.info.experiment_id), owner, measured)


def _places(settings: Settings, name: str) -> Places:
    try:
        able = find_abilities(settings)
        with translate_errors(settings):
            return places_from_mlflow(mlflow_client(settings).get_registered_model(name), able.aliases)
    except NotFound as error:
        store = hide_password(settings.tracking_uri, settings.tracking_uri)
        raise NotFound(
            f"There is no registered model “{name}” in {store}. “python -m phi3core models” lists them."
        ) from error


def _not_named(reference: Reference, aliases: dict[str, int]) -> str:
    if stage := reference.named_stage:
        return f"No version of {reference.name} is in {stage} yet. Promote one first."
    named = ", ".join(f"@{alias}" for alias in sorted(aliases)) or "none yet"
    return f"{reference.name} has no alias @{reference.alias}. Its aliases: {named}."
