"""phi3 build and phi3 demo."""

from __future__ import annotations

import signal
import time
from pathlib import Path

import pytest

from phi3core import tags
from phi3core.build import jobs
from phi3core.registry import artifacts, reader
from phi3core.settings import Settings
from tests.cli.commands import lines_of, run, start, wait_for
from tests.support import fakes


def test_a_terminal_has_the_role_of_its_user(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    settings.secrets.write_text('[roles]\nreleaser = ["sue"]\n')
    build = ("build", "--wrapper", "onnx", "--source", str(settings.home / "nowhere"))
    for user, words in (("vic", "Building a version needs the role releaser, and vic is a viewer"), ("sue", "nowhere")):
        monkeypatch.setenv("PHI3_USER", user)
        told = run(*build)
        assert told.exit_code == 1
        assert words in told.stderr


def test_a_folder_that_is_no_model_fails_the_build_with_its_reason(settings: Settings, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    told = run("build", "--wrapper", "transformers", "--source", str(tmp_path / "empty"), "--json")
    assert told.exit_code == 1
    assert str(tmp_path / "empty") in told.stderr
    assert "Traceback" not in told.stderr
    assert told.stdout == ""
    assert reader.list_models(settings) == []
    assert [job.status for job in jobs.list_recent(settings)] == ["FAILED"]


def test_the_home_of_an_unknown_user_is_no_source(settings: Settings) -> None:
    told = run("build", "--wrapper", "onnx", "--source", "~nosuchuser/x")
    assert told.exit_code == 1
    assert isinstance(told.exception, SystemExit), told.exception
    assert told.stderr.startswith("Error: ")
    assert "~nosuchuser/x" in told.stderr
    assert len(told.stderr.strip().splitlines()) == 1
    assert reader.list_models(settings) == []


@pytest.mark.model
def test_a_demo_that_is_there_is_left_alone_and_quickly(home: Settings) -> None:
    before = [(v.ref, v.run_id) for v in reader.list_versions(home, "phi3-embedded")]
    started = time.monotonic()
    told = run("demo")
    assert time.monotonic() - started < 5
    assert (told.exit_code, told.output) == (0, "")
    assert [(v.ref, v.run_id) for v in reader.list_versions(home, "phi3-embedded")] == before
    assert jobs.list_recent(home)[0].run_id in [run_id for _, run_id in before]


@pytest.mark.model
def test_a_demo_interrupted_twice_ends_with_exactly_its_two_versions(settings: Settings) -> None:
    """Killed in the middle of the first build, stopped with Ctrl-C in the middle of the second, then run again."""
    killed = start("demo")
    wait_for(lines_of(killed), "2/4 Try it out")
    killed.kill()
    killed.wait()
    fakes.until(lambda: all(not job.running for job in jobs.list_recent(settings)))
    assert reader.list_models(settings) == []

    stopped = start("demo")
    wait_for(lines_of(stopped), "3/5 Try it out")
    stopped.send_signal(signal.SIGINT)
    assert stopped.wait(30) == 1
    assert stopped.stderr
    said = stopped.stderr.read()
    assert "nothing was registered" in said
    assert "Traceback" not in said
    fakes.until(lambda: all(not job.running for job in jobs.list_recent(settings)))
    assert [(v.version, v.wrapper) for v in reader.list_versions(settings, "phi3-embedded")] == [(1, "transformers")]

    ended = start("demo")
    told, errors = ended.communicate(timeout=300)
    assert ended.returncode == 0, errors
    assert "1 of 2" not in told
    listed = reader.list_versions(settings, "phi3-embedded")
    assert [(v.version, v.wrapper, v.stage) for v in listed] == [(2, "onnx", "None"), (1, "transformers", "None")]
    assert listed[0].tags[tags.SIGNATURE] == "prompt"
    assert settings.artifacts
    kept = {Path(artifacts.artifact_uri(settings, v).removeprefix("file://")).parent.name for v in listed}
    found = {path.parent.parent.name for path in settings.artifacts.rglob("artifacts/MLmodel")}
    assert found == kept, "a build that was not registered left its files"
