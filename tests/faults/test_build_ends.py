"""The store or the disk is gone at the worst moment of a build: a sentence, and nothing is half-registered."""

from __future__ import annotations

import contextlib
import tempfile
from pathlib import Path

import pytest

from phi3core.build import jobs, measure, steps
from phi3core.build.spec import BuildSpec
from phi3core.build.steps import Progress
from phi3core.errors import BuildError, NotFound, StoreDown
from phi3core.registry import reader
from phi3core.settings import Settings, load_settings
from tests.build.conftest import Bench
from tests.build.job_runs import no_process, recorded, write_events
from tests.faults.disk import fill
from tests.support.conditions import QUIET
from tests.support.proxy import proxy


@pytest.fixture(autouse=True)
def _measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measure, "measure_model", lambda *_: measure.Measurement(1.0, 1.0, 1.0, "text", QUIET))


def test_a_server_that_is_gone_as_a_build_registers_is_told_and_the_next_look_clears_up(
    settings: Settings, http_server: str, tiny_onnx: Path, fresh: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = BuildSpec("onnx", str(tiny_onnx), fresh).validated()
    with contextlib.ExitStack() as up:
        server = up.enter_context(proxy(http_server))
        monkeypatch.setenv("MLFLOW_TRACKING_URI", server.url)
        away = load_settings()
        run_id = recorded(away, spec=spec)

        def vanish(progress: Progress) -> None:
            if progress.step == "register":
                server.resets = 10**6  # what is connected is cut off, and nothing new gets through
                up.close()

        with pytest.raises(StoreDown):
            steps.run_build(away, run_id, spec, vanish)

    monkeypatch.setenv("MLFLOW_TRACKING_URI", http_server)
    back = load_settings()
    bench = Bench(back)
    assert _logged(bench, run_id)
    write_events(back, run_id, no_process())
    assert jobs.get(back, run_id).status == "FAILED"
    assert not _logged(bench, run_id)
    with pytest.raises(NotFound):
        reader.get_version(back, f"{fresh}/1")
    assert list(back.tmp.iterdir()) == []


def _logged(bench: Bench, run_id: str) -> list[str]:
    found = bench.store.search_logged_models([bench.home], filter_string=f"source_run_id = '{run_id}'")
    return [model.model_id for model in found]


def test_a_disk_that_fills_while_the_model_is_copied_is_told_and_nothing_is_left(
    on_small_disk: Settings, small_disk: Path, tiny_onnx: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = Bench(on_small_disk)
    monkeypatch.setattr(tempfile, "tempdir", str(on_small_disk.tmp))  # where a job has MLflow's copies
    monkeypatch.setattr(steps, "_check_space", lambda *_: fill(small_disk, leave=500_000))  # by another program

    with pytest.raises(BuildError, match=r"The disk is full: nothing more can be written below .*; nothing was"):
        bench.run(BuildSpec("onnx", str(tiny_onnx), "tiny"))

    (small_disk / "ballast").unlink()
    steps.close_run(on_small_disk, bench.run_id, "FAILED", "The disk is full.")  # as the job's end does
    assert bench.left_behind() == []
    assert reader.list_models(on_small_disk) == []
