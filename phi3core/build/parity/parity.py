"""The job: a version's files and those of its base are found, both are read, and the result is recorded.

The base is the weights that the version was built from, fetched again as they were then, or another version.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from phi3core import tags
from phi3core.build import measure_again
from phi3core.build.only_data import require_data
from phi3core.build.sources.fetch import fetch_weights
from phi3core.build.sources.source import Report as Tell
from phi3core.build.sources.source import Weights, parse_source
from phi3core.build.steps import Watcher, step
from phi3core.cell import environment, run
from phi3core.cell.cell import Cell
from phi3core.engine.loader import find_weights
from phi3core.errors import BadInput, BuildError
from phi3core.links import linked_files
from phi3core.registry import artifacts
from phi3core.registry.models import Version
from phi3core.settings import Settings
from phi3core.store.client import mlflow_client, translate_errors

from .reading import TOLD
from .results import REPORT, SOURCE, Parity, artifact_name


@dataclass(frozen=True)
class Model:
    """A model to be read. kind: ``onnx``, ``transformers``, or ``source``: weights that are computed in float32."""

    folder: Path
    kind: str
    tokenizer: Path


def find_comparable(settings: Settings, ref: str, base: str = "") -> tuple[Version, Version | None]:
    """The version and its base, None where that is its source.

    Raises NotFound, or BadInput where they can't be held against each other.
    """
    version = measure_again.find_measurable(settings, ref)
    if not base:
        if reason := why_no_source(version):
            raise BadInput(reason)
        return version, None
    other = measure_again.find_measurable(settings, base)
    if other.ref == version.ref:
        raise BadInput(f"Both are {version.ref}. Choose another version to hold it against.")
    return version, other


def why_no_source(version: Version) -> str:
    """Why a version can't be held against the weights it was built from, as a sentence; empty where it can."""
    if not version.tags.get(tags.SOURCE):
        return f"{version.ref} does not say what it was built from. Hold it against another version."
    if version.precision == "as published":
        return (
            f"{version.ref} was published as ONNX, and the weights that it was made from are not known. Build a "
            "version from them, and hold it against that one."
        )
    return ""


def run_parity(settings: Settings, run_id: str, ref: str, base: str, watch: Watcher) -> None:
    """Hold a version against its source (base empty) or another version, and record it. run_id: the job's own run.

    Raises Phi3Error; nothing was recorded then.
    """
    started, work = time.monotonic(), settings.tmp / run_id
    work.mkdir(parents=True, exist_ok=True)
    try:
        with step("weights", watch) as tell:
            version, other = find_comparable(settings, ref, base)
            tell(None, "finding the version's files")
            compared = _logged(settings, version)
            against, says = _base(settings, version, other, tell)
        with step("read", watch) as tell:
            _run("reading", compared, work, tell)
        with step("compare", watch) as tell:
            report = REPORT.validate_python(json.loads(_run("comparing", against, work, tell))["report"])
        with step("record", watch):
            seconds = time.monotonic() - started
            of = other.ref if other else SOURCE
            _record(settings, version, Parity(version.ref, of, says, datetime.now(UTC), seconds, report), run_id)
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _logged(settings: Settings, version: Version) -> Model:
    folder = artifacts.download(settings, version)
    require_data(folder, version.ref)
    found = find_weights(folder)
    return Model(found.folder, found.kind, found.tokenizer)


def _base(settings: Settings, version: Version, other: Version | None, tell: Tell) -> tuple[Model, str]:
    """The base, and what it is in words."""
    if other:
        return _logged(settings, other), f"{other.ref}, {other.precision}"
    weights = fetch_again(settings, version, tell)
    return Model(weights.folder, "source", weights.folder), f"{weights.source}, in float32"


def fetch_again(settings: Settings, version: Version, tell: Tell) -> Weights:
    """The weights that a version was built from, at the revision that it was built at.

    Raises BadInput where they have changed since; else as sources.fetch.
    """
    names = {name: version.tags.get(name, "") for name in (tags.SOURCE, tags.REVISION, tags.BASE, tags.BASE_REVISION)}
    source, base = parse_source(names[tags.SOURCE]), names[tags.BASE]
    if source.kind == "hub":
        source = replace(source, revision=names[tags.REVISION])
    if base and (below := parse_source(base)).kind == "hub":
        base = str(replace(below, revision=names[tags.BASE_REVISION]))
    weights = fetch_weights(source, settings.cache, tell, base)
    if (weights.revision, weights.base_revision) != (names[tags.REVISION], names[tags.BASE_REVISION]):
        raise BadInput(
            f"{names[tags.SOURCE]} is no longer what {version.ref} was built from: its content has changed. Hold the "
            "version against another one, or build it again."
        )
    if weights.format != "transformers":
        raise BadInput(f"{names[tags.SOURCE]} holds ONNX, and no weights that it could be held against.")
    return weights


def _run(part: str, model: Model, work: Path, tell: Tell) -> str:
    """Run one part in a process of its own, in a cell. Returns its last line. Raises BuildError."""
    # The folder of a source may be made of links into the Hugging Face cache; a version's leads nowhere.
    linked = linked_files(model.folder) if model.kind == "source" else []
    shut_in = Cell((model.folder, model.tokenizer, *linked), work)
    arguments = [str(model.folder), model.kind, str(model.tokenizer), str(work)]
    command = run.command(shut_in, f"phi3core.build.parity.{part}", arguments)
    errors, last = work / f"{part}.log", ""
    with (
        errors.open("wb") as log,
        subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=log,
            stdin=subprocess.DEVNULL,
            env=environment.allowed(str(work)),
            text=True,
        ) as child,
    ):
        assert child.stdout
        try:
            for last in child.stdout:
                if "fraction" in (told := json.loads(last)):
                    tell(told["fraction"], told["text"])
        except BaseException:
            child.kill()
            raise
    if child.returncode:
        _explain(child.returncode, errors.read_text(errors="replace"))
    return last


def _explain(code: int, said: str) -> None:
    print(said, file=sys.stderr, flush=True)  # for the job's log
    lines = said.strip().splitlines() or ["it printed nothing"]
    if code == TOLD:
        raise BuildError(lines[-1])
    if code < 0:
        raise BuildError(
            f"A model's process was killed while it read (signal {-code}), most likely because memory ran out. Close "
            "other programs or use a machine with more memory."
        )
    if "No space left on device" in said:
        raise OSError(28, "No space left on device")
    raise BuildError(f"The models could not be compared: {lines[-1][:300]}")


def _record(settings: Settings, version: Version, found: Parity, run_id: str) -> None:
    from mlflow.entities import Metric

    store, when = mlflow_client(settings), int(found.when.timestamp() * 1000)
    with translate_errors(settings):
        store.log_text(version.run_id, found.to_json(), artifact_name(found.base))
        if found.base == SOURCE:
            step_ = max((m.step for m in store.get_metric_history(version.run_id, tags.PARITY_KL)), default=-1) + 1
            store.log_batch(version.run_id, [Metric(name, value, when, step_) for name, value in found.metrics.items()])
        store.set_tag(run_id, tags.VERSION, str(version.version))
