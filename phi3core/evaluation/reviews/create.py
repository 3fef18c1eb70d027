"""Making a review of an evaluation's answers."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory

from phi3core import tags
from phi3core.access import roles
from phi3core.access.roles import Person
from phi3core.errors import BadInput, Conflict, NotFound, StoreDown, StoreError
from phi3core.evaluation import prompt_sets, results
from phi3core.evaluation.results import EvaluationRun
from phi3core.registry import artifacts, reader
from phi3core.settings import Settings
from phi3core.store.client import experiment_id, mlflow_client, translate_errors
from phi3core.timestamps import now_ms

from .items import FILE, Answer, digest_of, make_items, to_text
from .plan import Plan, check_plan
from .review import Review, definition_tags, read_review


def create(settings: Settings, plan: Plan, evaluation: str, person: Person | None = None) -> Review:
    """Make a review of all answers of an evaluation. Fetches the versions' files where their digests need it.

    Args:
        evaluation: the id of its run.

    Raises:
        Forbidden: the person is a viewer.
        BadInput: the plan is no good, or there is nothing to judge.
        Conflict: answers are missing.
        NotFound, StoreError, StoreDown: the evaluation, its prompt set or the files of a version can't be read.
    """
    person = person or roles.local_person(settings)
    roles.require(person, "reviewer", "making a review")
    run = results.read_run(settings, evaluation)
    if not run.complete:
        raise Conflict("Answers of this evaluation are missing: start it again, and review it when it is complete.")
    plan = check_plan(plan, len(run.refs))
    found, asked = prompt_sets.read_set(settings, run.prompt_set)
    started = now_ms()
    answers = _answers(settings, run)
    items = make_items(plan.form, f"{evaluation} {started}", asked, run.refs, answers)
    text = to_text(items)
    of = {
        tags.EVALUATION: evaluation,
        tags.PROMPT_SET: found.ref,
        tags.SET_DIGEST: found.digest,
        tags.VERSIONS: json.dumps({ref: version_digest(settings, ref) for ref in run.refs}),
        tags.ITEMS: str(len(items)),
        tags.DIGEST: digest_of(text),
    }
    return read_review(settings, write_review(settings, plan, person, started, of, text))


def write_review(settings: Settings, plan: Plan, person: Person, started: int, of: Mapping[str, str], text: str) -> str:
    """Write a review that was checked; returns its id.

    Args:
        started: milliseconds since 1970.
        of: its tags beside the plan and the owner.
        text: the content of its items' file.
    """
    store, home = mlflow_client(settings), experiment_id(settings, tags.REVIEWS)
    told = definition_tags(settings, plan, person, started, of)
    with translate_errors(settings), TemporaryDirectory() as folder:
        made = store.create_run(home, started, run_name=plan.question[:250])
        file = Path(folder, FILE)
        file.write_text(text, encoding="utf-8", newline="")
        store.log_artifact(made.info.run_id, str(file))
        _set_tags(settings, made.info.run_id, told)  # last: without its seal it is none
    return str(made.info.run_id)


def version_digest(settings: Settings, ref: str) -> str:
    """The digest of a version's files as they are now; "" for an endpoint, and for files that can't be had."""
    if ref.startswith("endpoint:"):
        return ""
    try:
        return artifacts.read_state(settings, reader.get_version(settings, ref), fetch=True).digest
    except StoreDown:
        raise
    except (
        BadInput,
        NotFound,
        StoreError,
    ):  # its answers can be reviewed, and are evidence of nothing
        return ""


def _answers(settings: Settings, run: EvaluationRun) -> dict[tuple[str, str], Answer]:
    """The whole answers, by item and version; those that failed are left out."""
    return {
        (item, turn.ref): Answer(turn.ref, turn.answer, turn.trace_id)
        for item, turn in results.turns_of(settings, run.run_id)
        if turn.state == "done" and turn.answer
    }


def _set_tags(settings: Settings, run_id: str, told: dict[str, str]) -> None:
    from mlflow.entities import RunTag

    mlflow_client(settings).log_batch(run_id, tags=[RunTag(name, value) for name, value in told.items()])
