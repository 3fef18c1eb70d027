"""A build: from weights to a registered version, in named steps.

Registering is the last step and one call, with all tags and the description: what fails or is stopped
leaves no version behind. Knows nothing of processes (see jobs.py) or of what is done with the progress.
"""

from __future__ import annotations

import errno
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

from filelock import FileLock, Timeout

from phi3core import hashing, tags
from phi3core.access import roles
from phi3core.build.sources.fetch import fetch_weights
from phi3core.build.sources.source import Report, Weights, parse_source
from phi3core.errors import BuildError, Conflict, Phi3Error
from phi3core.settings import Settings
from phi3core.store.client import experiment_id, mlflow_client, translate_errors
from phi3core.store.timeouts import allow_transfer_time
from phi3core.wrappers.onnx import log_onnx_model
from phi3core.wrappers.pipeline import log_pipeline

from . import convert, fit, measure, upload
from .spec import BuildSpec, default_options
from .upload import Logged

if TYPE_CHECKING:
    from mlflow.models.model import ModelInfo

STEPS = {
    "transformers": ("weights", "measure", "log", "register"),
    "onnx": ("weights", "convert", "measure", "log", "register"),
    # Of a registered version: see measure_again.py, parity/ and declared_environment.py.
    "measure": ("weights", "idle", "measure", "record"),
    "parity": ("weights", "read", "compare", "record"),
    "environment": ("weights", "install", "answer", "record"),
}
STEP_TITLES = {
    "weights": "Get the weights",
    "convert": "Convert to ONNX",
    "idle": "Wait until the machine is idle",
    "measure": "Try it out",
    "log": "Log the model",
    "register": "Register the version",
    "read": "Read the texts with the version",
    "compare": "Read them with what it is held against",
    "install": "Make its environment",
    "answer": "Ask in it, and in this program’s",
    "record": "Record what came out",
}


@dataclass(frozen=True)
class Progress:
    """One line of a build's progress. fraction is 0 to 1 or None; seconds is set when the step is done."""

    step: str
    text: str = ""
    fraction: float | None = None
    seconds: float | None = None


Watcher = Callable[[Progress], None]


def run_build(settings: Settings, run_id: str, spec: BuildSpec, watch: Watcher) -> int:
    """Build the version, recording everything on the MLflow run, and return its number.

    Raises Phi3Error; what was logged until then is removed, and nothing was registered.
    """
    import mlflow

    started = time.monotonic()
    store = mlflow_client(settings)
    work = settings.tmp / run_id
    try:
        with (
            ExitStack() as turns,
            _translate_full_disk(settings),
            translate_errors(settings),
            mlflow.start_run(run_id=run_id),
        ):
            with step("weights", watch) as report:
                turns.enter_context(_turn(settings, spec, report))
                started = time.monotonic()
                weights = fetch_weights(parse_source(spec.source), settings.cache, report, spec.base)
                signature = fit.check_fit(weights.folder, weights.format, spec.wrapper, spec.signature)
                spec = replace(spec, signature=signature)
            folder = weights.folder
            if spec.wrapper == "onnx":
                with step("convert", watch) as report:
                    log = settings.logs / f"build-{run_id}.log"
                    cache = settings.cache
                    folder = convert.convert_to_onnx(weights, spec.precision, cache, log, report, spec.block)
            precision = spec.precision_says if weights.format == "transformers" else "as published"
            with step("measure", watch) as report:
                report(None, "loading the model and letting it answer")
                measured = measure.measure_model(folder, spec.wrapper, "auto" if spec.wrapper == "onnx" else precision)
            with step("log", watch) as report:
                size = hashing.folder_size(folder)
                _check_space(settings, 2 * size)
                report(None, "copying the model into the store")
                options = default_options(folder, spec)
                with allow_transfer_time(), upload.watch_uploads() as noted:
                    info = _log(spec, folder, precision, options)
                tag_values = _tags(settings, spec, weights, precision, upload.read_logged(settings, info, noted))
                _log_run(tag_values, measured, time.monotonic() - started)
            with step("register", watch) as report:
                number = _register(settings, run_id, spec, info, tag_values, weights.note)
                store.set_tag(run_id, tags.VERSION, str(number))
        return number
    except BaseException:
        with suppress(Phi3Error):
            discard_logged_models(settings, run_id)
        raise
    finally:
        shutil.rmtree(work, ignore_errors=True)


def discard_logged_models(settings: Settings, run_id: str) -> None:
    """Remove what a build that did not register has logged: its logged models and, in our own store, their files."""
    store = mlflow_client(settings)
    with translate_errors(settings):
        if store.search_model_versions(f"run_id='{run_id}'"):
            return  # it did register, and only the answer was lost
        home = experiment_id(settings, tags.BUILDS)
        for model in store.search_logged_models([home], filter_string=f"source_run_id = '{run_id}'"):
            store.delete_logged_model(model.model_id)
            location = Path(unquote(urlsplit(model.artifact_location).path))
            if settings.artifacts and location.is_relative_to(settings.artifacts):
                shutil.rmtree(location, ignore_errors=True)


def close_run(settings: Settings, run_id: str, status: str, reason: str) -> None:
    """Close a build's run; one that has registered its version as finished, also when an error came after that."""
    store = mlflow_client(settings)
    with translate_errors(settings):
        made = store.search_model_versions(f"run_id='{run_id}'")
        if made:
            store.set_tag(run_id, tags.VERSION, str(made[0].version))
            store.set_terminated(run_id, "FINISHED")
            return
        if reason:
            store.set_tag(run_id, tags.REASON, reason[:5000])
        store.set_terminated(run_id, status)
    with suppress(Phi3Error):
        discard_logged_models(settings, run_id)


# ---------------------------------------------------------------- the steps


@contextmanager
def step(name: str, watch: Watcher) -> Iterator[Report]:
    """Tell that the step begins and ends; what it is given tells how far the step is."""
    started = time.monotonic()
    watch(Progress(name, "starting"))
    yield lambda fraction, text: watch(Progress(name, text, fraction))
    watch(Progress(name, "done", 1.0, time.monotonic() - started))


@contextmanager
def _turn(settings: Settings, spec: BuildSpec, report: Report) -> Iterator[None]:
    """Builds of one source take turns on a machine: one fetches and converts, and none is measured beside another."""
    lock = FileLock(settings.locks / f"build-{hashing.hash_texts(spec.source, spec.base)[:16]}.lock")
    try:
        lock.acquire(blocking=False)
    except Timeout:
        report(None, "waiting for another build of the same source")
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def _check_space(settings: Settings, needed: int) -> None:
    free = shutil.disk_usage(settings.home).free
    if free < needed:
        raise BuildError(
            f"The disk is full: {settings.home} has {free / 1e6:,.0f} MB left and this build needs "
            f"{needed / 1e6:,.0f} MB more. Free some space, then build again."
        )


def _log(spec: BuildSpec, folder: Path, precision: str, options: dict[str, Any]) -> ModelInfo:
    served = {name: value for name, value in options.items() if name != "seed"}
    metadata = {"phi3": {"wrapper": spec.wrapper, "options": served}}
    if spec.wrapper == "onnx":
        return log_onnx_model(folder, spec.signature, options, metadata)
    source = parse_source(spec.source)
    sampled = {name: options[name] for name in ("temperature", "top_p", "top_k")} if options["temperature"] else {}
    # What the 2024 cookbook called max_length counted the prompt too; max_new_tokens counts the answer.
    config = {
        "max_new_tokens": options["max_tokens"],
        "do_sample": bool(sampled),
        "repetition_penalty": options["repetition_penalty"],
        **sampled,
        **({"min_p": options["min_p"]} if sampled and options["min_p"] else {}),
    }
    task = "llm/v1/chat" if spec.signature == "chat" else "llm/v1/completions"
    return log_pipeline(folder, source.repo, precision, task, config, metadata)


def _tags(settings: Settings, spec: BuildSpec, weights: Weights, precision: str, logged: Logged) -> dict[str, str]:
    merged = {tags.BASE: weights.base, tags.BASE_REVISION: weights.base_revision} if weights.base else {}
    return {
        tags.WRAPPER: spec.wrapper,
        tags.SOURCE: weights.source,
        tags.REVISION: weights.revision,
        tags.PRECISION: precision,
        tags.LICENCE: weights.licence,
        tags.SIGNATURE: spec.signature,
        tags.SIZE: str(logged.size),
        tags.DIGEST: logged.digest,
        tags.USER: roles.local_person(settings).name,
        **merged,
    }


def _log_run(
    tag_values: dict[str, str],
    measured: measure.Measurement,
    seconds: float,
) -> None:
    import mlflow

    mlflow.log_metrics(
        {
            **measured.metrics,
            tags.SIZE_METRIC: float(tag_values[tags.SIZE]),
            tags.SECONDS: seconds,
        },
        step=0,
    )
    mlflow.log_text(measured.sample, "sample.txt")
    mlflow.set_tags(tag_values | measured.conditions.as_tag(0))


def _register(
    settings: Settings, run_id: str, spec: BuildSpec, info: ModelInfo, tag_values: dict[str, str], note: str
) -> int:
    store = mlflow_client(settings)
    description = f"{describe_version(spec, tag_values)} {note}".strip()
    with suppress(Conflict), translate_errors(settings):
        store.create_registered_model(spec.name)
    with translate_errors(settings):
        made = store.create_model_version(
            spec.name, info.model_uri, run_id, tags=tag_values, description=description, model_id=info.model_id
        )
    return int(made.version)


def describe_version(spec: BuildSpec, tag_values: dict[str, str]) -> str:
    """One sentence that says what a version is."""
    how = "A Transformers pipeline" if spec.wrapper == "transformers" else "ONNX Runtime GenAI"
    what = tag_values[tags.SOURCE]
    if what == "embedded":
        what = "the embedded SmolLM2-135M-Instruct (a small stand-in for Phi-3, repacked in its architecture)"
    of = f"{what}, revision {tag_values[tags.REVISION]}"
    if base := tag_values.get(tags.BASE):
        of = f"the adapter {of}, merged into {base}, revision {tag_values[tags.BASE_REVISION]}"
    takes = "chat messages" if spec.signature == "chat" else "a prompt"
    return f"{how} of {of}, {tag_values[tags.PRECISION]}; takes {takes}. Licence: {tag_values[tags.LICENCE]}."


@contextmanager
def _translate_full_disk(settings: Settings) -> Iterator[None]:
    """A full disk reaches us as many exceptions; all have ENOSPC or its words somewhere in their chain."""
    try:
        yield
    except Exception as error:
        cause: BaseException | None = error
        while cause is not None:
            full = isinstance(cause, OSError) and cause.errno == errno.ENOSPC
            if full or "No space left on device" in str(cause) or "database or disk is full" in str(cause):
                where = min((settings.home, settings.cache), key=lambda path: shutil.disk_usage(path).free)
                raise BuildError(
                    f"The disk is full: nothing more can be written below {where}. Free some space, then build "
                    "again; nothing was registered."
                ) from error
            cause = cause.__cause__ or cause.__context__
        raise
