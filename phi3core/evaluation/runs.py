"""The MLflow run of an evaluation: found by what it is of, opened, and closed with the means as its metrics."""

from __future__ import annotations

import hashlib
import json
import re
import socket
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from phi3core import tags
from phi3core.access.roles import Person
from phi3core.chat.target import Target
from phi3core.errors import Busy
from phi3core.settings import Settings
from phi3core.store.client import experiment_id, mlflow_client, translate_errors
from phi3core.timestamps import now_ms

from . import datasets, evidence, prompt_sets, scorers
from .items import Item
from .pulse import progress_of
from .results import Evaluation

if TYPE_CHECKING:
    from mlflow.entities import Run


def key_of(digest: str, targets: Sequence[Target], options: dict[str, Any]) -> str:
    """What an evaluation is of. A version that was deleted and built again under its number is another one."""
    names = ("ref", "source", "url", "model", "task", "column", "dialect")  # of a version, or of an endpoint
    of = [[str(getattr(target, name, "")) for name in names] for target in targets]
    text = json.dumps([digest, sorted(of), options, sorted(scorers.SCORERS)], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def open_run(
    settings: Settings,
    key: str,
    found: prompt_sets.PromptSet,
    items: Sequence[Item],
    targets: Sequence[Target],
    options: dict[str, Any],
    person: Person,
    again: bool,
) -> tuple[str, bool]:
    """The run's id, and whether it is complete."""
    store, home = mlflow_client(settings), experiment_id(settings, tags.EVALUATIONS)
    with translate_errors(settings):
        where = f"tags.`{tags.EVALUATION}` = '{key}'"
        known = store.search_runs([home], where, order_by=["attributes.start_time DESC"], max_results=1)
        # One that was interrupted goes on, also where a new one is asked for.
        complete = bool(known) and known[0].info.status == "FINISHED"
        if known and not (again and complete):
            _check_free(known[0])
            return str(known[0].info.run_id), complete
        of = {
            tags.EVALUATION: key,
            tags.PROMPT_SET: found.ref,
            tags.DIGEST: found.digest,
            tags.ITEMS: str(found.size),
            tags.VERSIONS: json.dumps([target.ref for target in targets]),
            tags.OPTIONS: json.dumps(options, sort_keys=True),
            tags.DIGESTS: json.dumps(evidence.read_digests(settings, [target.ref for target in targets])),
            tags.USER: person.name,
        }
        run_id = str(store.create_run(home, run_name=found.name, tags=of).info.run_id)
        dataset = datasets.publish(settings, found.ref, found.digest, items)
        store.log_inputs(run_id, [datasets.run_input(found.ref, found.digest, dataset)])
        return run_id, False


def _check_free(run: Run) -> None:
    """Raise Busy where another machine makes the evaluation: on this one a lock says so."""
    progress = progress_of(run.data.tags)
    if run.info.status == "RUNNING" and progress and progress.fresh and progress.host != socket.gethostname():
        raise Busy(f"This evaluation is under way on {progress.host}: it can be stopped on the page Evaluate.")


def close_run(settings: Settings, found: Evaluation, missing: Sequence[str], stopped: bool) -> Evaluation:
    """Close the run of an evaluation, whose means are its metrics where no answer is missing; what it is then."""
    if stopped or missing:
        end_run(settings, found.run.run_id, "KILLED" if stopped else "FAILED")
        return found
    log_means(settings, found)
    end_run(settings, found.run.run_id, "FINISHED")  # last: it is complete, with its metrics
    return replace(found, run=replace(found.run, complete=True))


def log_means(settings: Settings, found: Evaluation) -> None:
    """Write the means of an evaluation as metrics of its run."""
    from mlflow.entities import Metric

    now = now_ms()
    metrics = [
        # MLflow takes fewer letters in a metric's name than in a model's.
        Metric(f"{re.sub(r'[^A-Za-z0-9_./ -]', '_', ref)}/{name}", mean.value, now, 0)
        for ref in found.run.refs
        for name, mean in found.means(ref).items()
    ]
    with translate_errors(settings):
        mlflow_client(settings).log_batch(found.run.run_id, metrics=metrics)


def reopen(settings: Settings, run_id: str) -> None:
    """Have a run that ended before it was complete be under way again."""
    with translate_errors(settings):
        mlflow_client(settings).update_run(run_id, status="RUNNING")


def end_run(settings: Settings, run_id: str, status: str) -> None:
    """Close the run. status: MLflow's."""
    with translate_errors(settings):
        mlflow_client(settings).set_terminated(run_id, status)
