"""A build: from weights to a registered version, in named steps.

Registering is the last step and one call, with all tags and the description: what fails or is stopped
leaves no version behind. Knows nothing of processes (see jobs.py) or of who watches.
"""

from __future__ import annotations

import errno
import json
import re
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import unquote, urlsplit

from phi3core import hashing, tags
from phi3core.access import roles
from phi3core.build.sources.fetch import fetch_weights
from phi3core.build.sources.source import Report, Weights, parse_source
from phi3core.errors import BadInput, BuildError, Conflict, Phi3Error
from phi3core.registry import artifacts
from phi3core.settings import Settings
from phi3core.store.client import experiment_id, mlflow_client, translate_errors
from phi3core.store.timeouts import allow_transfer_time
from phi3core.wrappers.onnx import SIGNATURES, log_onnx
from phi3core.wrappers.pipeline import PIPELINE_PRECISIONS, log_pipeline

from . import convert, measure

if TYPE_CHECKING:
    from mlflow.models.model import ModelInfo

PRECISIONS = {"transformers": PIPELINE_PRECISIONS, "onnx": convert.ONNX_PRECISIONS}
"""What each wrapper can be built at; the first is the default (see default_precision)."""

MAX_TOKENS = 100_000
"""The longest answer that a version can have as its default."""

STEPS = {
    "transformers": ("weights", "measure", "log", "register"),
    "onnx": ("weights", "convert", "measure", "log", "register"),
}
TITLES = {
    "weights": "Get the weights",
    "convert": "Convert to ONNX",
    "measure": "Try it out",
    "log": "Log the model",
    "register": "Register the version",
}


def default_precision(wrapper: str, source: str) -> str:
    """The embedded model is too small to lose any precision: rounded to 4 bits everywhere, it babbles."""
    return "int4-mixed" if (wrapper, source) == ("onnx", "embedded") else PRECISIONS[wrapper][0]


@dataclass(frozen=True)
class BuildSpec:
    """What to build. temperature None takes the model's own. precision empty takes the default."""

    wrapper: Literal["transformers", "onnx"]
    source: str = "embedded"
    name: str = tags.DEMO_MODEL
    precision: str = ""
    signature: Literal["prompt", "chat"] = "prompt"
    max_tokens: int = 300
    temperature: float | None = None

    def checked(self) -> BuildSpec:
        """This specification with its defaults filled in. Raises BadInput for what makes no sense."""
        if self.wrapper not in tags.WRAPPERS:
            raise BadInput(f"“{self.wrapper}” is not a wrapper. Choose {' or '.join(tags.WRAPPERS)}.")
        source = parse_source(self.source)
        precision = self.precision or default_precision(self.wrapper, str(source))
        if precision not in PRECISIONS[self.wrapper]:
            known = ", ".join(PRECISIONS[self.wrapper])
            raise BadInput(f"The {self.wrapper} wrapper can't be built at “{precision}”. Choose one of {known}.")
        if self.signature not in SIGNATURES:
            raise BadInput(f"“{self.signature}” is not a signature. Choose {' or '.join(SIGNATURES)}.")
        if not re.fullmatch(r"[\w .-]+", self.name) or not self.name.strip():
            raise BadInput("A model's name is made of letters, digits, spaces, “_”, “-” and “.”, such as phi3-mini.")
        if not 1 <= self.max_tokens <= MAX_TOKENS:
            raise BadInput(f"max_tokens must be between 1 and {MAX_TOKENS:,}.")
        if self.temperature is not None and not 0 <= self.temperature <= 2:
            raise BadInput("temperature must be between 0 and 2.")
        signature: Literal["prompt", "chat"] = "chat" if self.wrapper == "transformers" else self.signature
        return BuildSpec(
            self.wrapper, str(source), self.name.strip(), precision, signature, self.max_tokens, self.temperature
        )


@dataclass(frozen=True)
class Progress:
    """One line of a build's progress. fraction is 0 to 1 or None; seconds is set when the step is done."""

    step: str
    text: str = ""
    fraction: float | None = None
    seconds: float | None = None


Watcher = Callable[[Progress], None]


def run(settings: Settings, run_id: str, spec: BuildSpec, watch: Watcher) -> int:
    """Build the version, recording everything on the MLflow run, and return its number.

    Raises Phi3Error; whatever was logged until then is removed, and nothing was registered.
    """
    import mlflow

    started = time.monotonic()
    store = mlflow_client(settings)
    work = settings.tmp / run_id
    try:
        with _full_disk_told(settings), translate_errors(settings), mlflow.start_run(run_id=run_id):
            with _step("weights", watch) as report:
                weights = fetch_weights(parse_source(spec.source), settings.cache, report)
                _check_wrapper(spec, weights)
            folder = weights.folder
            if spec.wrapper == "onnx":
                with _step("convert", watch) as report:
                    log = settings.logs / f"build-{run_id}.log"
                    folder = convert.to_onnx(weights, spec.precision, settings.cache, log, report)
            precision = spec.precision if weights.format == "transformers" else "as published"
            with _step("measure", watch) as report:
                report(None, "loading the model and letting it answer")
                measured = measure.measure(folder, spec.wrapper, "auto" if spec.wrapper == "onnx" else precision)
            with _step("log", watch) as report:
                size = hashing.folder_size(folder)
                _check_space(settings, 2 * size)
                report(None, "copying the model into the store")
                options = default_options(folder, spec)
                with allow_transfer_time():
                    info = _log(spec, folder, precision, options)
                tag_values = _tags(settings, spec, weights, precision, info)
                _log_run(tag_values, measured, time.monotonic() - started)
            with _step("register", watch) as report:
                number = _register(settings, run_id, spec, info, tag_values)
                store.set_tag(run_id, tags.VERSION, str(number))
        return number
    except BaseException:
        with suppress(Phi3Error):
            discard(settings, run_id)
        raise
    finally:
        shutil.rmtree(work, ignore_errors=True)


def default_options(folder: Path, spec: BuildSpec) -> dict[str, Any]:
    """The generation options a version is logged with: the model's own, or the 2024 cookbook's temperature 0.2."""
    own: dict[str, Any] = {}
    for name, part in (("generation_config.json", None), ("genai_config.json", "search")):
        if (folder / name).is_file():
            found = json.loads((folder / name).read_text())
            own = found.get(part, {}) if part else found
    temperature = spec.temperature
    if temperature is None:
        temperature = float(own.get("temperature") or 0.2) if own.get("do_sample") else 0.2
    return {
        "max_tokens": spec.max_tokens,
        "temperature": min(max(temperature, 0.0), 2.0),
        "top_p": min(max(float(own.get("top_p") or 0.9), 0.01), 1.0),
        "top_k": max(int(own.get("top_k") or 50), 1),
        "repetition_penalty": min(max(float(own.get("repetition_penalty") or 1.0), 0.1), 2.0),
        "seed": -1,
        "stop": [],
    }


def discard(settings: Settings, run_id: str) -> None:
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


# ---------------------------------------------------------------- the steps


@contextmanager
def _step(name: str, watch: Watcher) -> Iterator[Report]:
    started = time.monotonic()
    watch(Progress(name, "starting"))
    yield lambda fraction, text: watch(Progress(name, text, fraction))
    watch(Progress(name, "done", 1.0, time.monotonic() - started))


def _check_wrapper(spec: BuildSpec, weights: Weights) -> None:
    if spec.wrapper == "transformers" and weights.format == "onnx":
        raise BadInput(
            f"{weights.source} holds ONNX weights, which a Transformers pipeline can't run. Build it with the onnx "
            "wrapper, or choose the repository that holds safetensors."
        )


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
        return log_onnx(folder, spec.signature, options, metadata)
    source = parse_source(spec.source)
    sampled = {name: options[name] for name in ("temperature", "top_p", "top_k")} if options["temperature"] else {}
    # What the 2024 cookbook called max_length counted the prompt too; max_new_tokens counts the answer.
    config = {
        "max_new_tokens": options["max_tokens"],
        "do_sample": bool(sampled),
        "repetition_penalty": options["repetition_penalty"],
        **sampled,
    }
    return log_pipeline(folder, source.repo, precision, config, metadata)


def _tags(settings: Settings, spec: BuildSpec, weights: Weights, precision: str, info: ModelInfo) -> dict[str, str]:
    import mlflow

    with translate_errors(settings):
        logged = Path(mlflow.artifacts.download_artifacts(info.model_uri))
    return {
        tags.WRAPPER: spec.wrapper,
        tags.SOURCE: weights.source,
        tags.REVISION: weights.revision,
        tags.PRECISION: precision,
        tags.LICENCE: weights.licence,
        tags.SIGNATURE: spec.signature,
        tags.SIZE: str(hashing.folder_size(logged)),
        tags.DIGEST: artifacts.digest_of(settings, logged),
        tags.USER: roles.local_person(settings).name,
    }


def _log_run(
    tag_values: dict[str, str],
    measured: measure.Measured,
    seconds: float,
) -> None:
    import mlflow

    mlflow.log_metrics(
        {
            tags.TOKENS_PER_SECOND: measured.tokens_per_second,
            tags.FIRST_TOKEN_MS: measured.first_token_ms,
            tags.PEAK_MEMORY: measured.peak_memory_bytes,
            tags.SIZE_METRIC: float(tag_values[tags.SIZE]),
            tags.SECONDS: seconds,
        }
    )
    mlflow.log_text(measured.sample, "sample.txt")
    mlflow.set_tags(tag_values)


def _register(settings: Settings, run_id: str, spec: BuildSpec, info: ModelInfo, tag_values: dict[str, str]) -> int:
    store = mlflow_client(settings)
    description = describe(spec, tag_values)
    with suppress(Conflict), translate_errors(settings):
        store.create_registered_model(spec.name)
    with translate_errors(settings):
        made = store.create_model_version(
            spec.name, info.model_uri, run_id, tags=tag_values, description=description, model_id=info.model_id
        )
    return int(made.version)


def describe(spec: BuildSpec, tag_values: dict[str, str]) -> str:
    """One sentence that says what a version is."""
    how = "A Transformers pipeline" if spec.wrapper == "transformers" else "ONNX Runtime GenAI"
    what = tag_values[tags.SOURCE]
    if what == "embedded":
        what = "the embedded SmolLM2-135M-Instruct (a small stand-in for Phi-3, repacked in its architecture)"
    takes = "chat messages" if spec.signature == "chat" else "a prompt"
    return (
        f"{how} of {what}, revision {tag_values[tags.REVISION]}, {tag_values[tags.PRECISION]}; takes {takes}. "
        f"Licence: {tag_values[tags.LICENCE]}."
    )


@contextmanager
def _full_disk_told(settings: Settings) -> Iterator[None]:
    """A full disk reaches us as many exceptions; all have ENOSPC or its words somewhere in their chain."""
    try:
        yield
    except Exception as error:
        seen: BaseException | None = error
        while seen is not None:
            full = isinstance(seen, OSError) and seen.errno == errno.ENOSPC
            if full or "No space left on device" in str(seen) or "database or disk is full" in str(seen):
                where = min((settings.home, settings.cache), key=lambda path: shutil.disk_usage(path).free)
                raise BuildError(
                    f"The disk is full: nothing more can be written below {where}. Free some space, then build "
                    "again; nothing was registered."
                ) from error
            seen = seen.__cause__ or seen.__context__
        raise


def is_build(params: dict[str, str]) -> bool:
    """Whether a run is one of our builds: anybody may log a run into any experiment."""
    return params.get("build.wrapper") in tags.WRAPPERS


def spec_of(params: dict[str, str]) -> BuildSpec:
    """The specification that a run's parameters record."""
    names = asdict(BuildSpec("onnx"))
    fields: dict[str, Any] = {name: params[f"build.{name}"] for name in names if f"build.{name}" in params}
    fields["max_tokens"] = int(fields.get("max_tokens", 300))
    text = fields.get("temperature", "None")
    fields["temperature"] = None if text == "None" else float(text)
    return BuildSpec(**fields)


def suggest_name(source: str) -> str:
    """A registered model's name for what comes from a source: the repository's or the folder's own."""
    found = parse_source(source)
    if found.kind == "embedded":
        return tags.DEMO_MODEL
    last = found.repo.split("/")[-1] if found.kind == "hub" else Path(found.path).name
    return re.sub(r"[^\w.-]+", "-", last).strip("-.").lower() or "my-model"
