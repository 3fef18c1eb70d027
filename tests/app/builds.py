"""Builds as the store and this machine remember them, without building anything."""

from __future__ import annotations

import json
import time
from dataclasses import asdict

from phi3core import tags
from phi3core.build.spec import MEASURES, BuildSpec
from phi3core.settings import Settings
from phi3core.store.client import experiment_id, mlflow_client


def past_build(
    settings: Settings, status: str, name: str = "phi3", version: int | None = None, reason: str = "", log: str = "",
    measures: str = "",
) -> str:  # fmt: skip
    """A build that has ended, and the id of its run. measures: a version, for a job that measured it."""
    run_id = _run(settings, BuildSpec("onnx", name=name), measures)
    store = mlflow_client(settings)
    if version:
        store.set_tag(run_id, tags.VERSION, str(version))
    if reason:
        store.set_tag(run_id, tags.REASON, reason)
    if log:
        (settings.logs / f"build-{run_id}.log").write_text(log)
    store.set_terminated(run_id, status)
    return run_id


def running_build(settings: Settings, pid: int, events: list[dict[str, object]], measures: str = "") -> str:
    """A build whose process is the given one, with the progress it has told so far."""
    run_id = _run(settings, BuildSpec("onnx", name="busy"), measures)
    lines = [{"pid": pid, "born": time.time()}, *events]
    (settings.jobs / f"{run_id}.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return run_id


def _run(settings: Settings, spec: BuildSpec, measures: str = "") -> str:
    store = mlflow_client(settings)
    tag_values = {tags.MODEL_NAME: spec.name, tags.WRAPPER: spec.wrapper, tags.USER: "ada"}
    run_id = str(store.create_run(experiment_id(settings, tags.BUILDS), tags=tag_values).info.run_id)
    for name, value in asdict(spec).items():
        store.log_param(run_id, f"build.{name}", str(value))
    if measures:
        store.log_param(run_id, MEASURES, measures)
    return run_id
