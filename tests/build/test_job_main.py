"""What the child does when a build fails at the very end."""

from __future__ import annotations

import errno
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from phi3core.build import job_main, jobs
from phi3core.build.spec import BuildSpec
from phi3core.registry import artifacts, reader
from phi3core.settings import Settings
from tests.build.job_runs import recorded


class Undisturbed:
    """What main() asks of Cancellation, without its signal handler and its eye on standard input."""

    reason, over = "", False

    def check(self) -> None:
        pass


@pytest.mark.parametrize(
    "failure",
    [OSError(errno.ENOSPC, "No space left on device"), RuntimeError("the progress can't be told")],
    ids=["a full disk", "anything else"],
)
def test_a_build_that_fails_right_after_registering_has_finished(
    settings: Settings, tiny_onnx: Path, monkeypatch: pytest.MonkeyPatch, failure: Exception
) -> None:
    run_id = recorded(settings, spec=BuildSpec("onnx", str(tiny_onnx), "tiny"))
    append = job_main.append_event

    def fails_at_the_end(config: Settings, run: str, event: dict[str, Any]) -> None:
        if event.get("step") == "register" and event.get("seconds") is not None:
            raise failure
        append(config, run, event)

    monkeypatch.setattr(job_main, "append_event", fails_at_the_end)
    monkeypatch.setattr(job_main, "Cancellation", Undisturbed)
    monkeypatch.setenv("TMPDIR", str(settings.tmp))  # put back afterwards: main() changes it

    spec = BuildSpec("onnx", str(tiny_onnx), "tiny").validated()
    job_main.main(run_id, json.dumps(asdict(spec)))

    job = jobs.get(settings, run_id)
    assert (job.status, job.version, job.reason) == ("FINISHED", 1, "")
    version = reader.get_version(settings, "tiny/1")
    assert version.run_id == run_id
    assert artifacts.local_folder(settings, version), "its files are there"
