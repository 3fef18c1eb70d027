"""The harness's command line, environment and output."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from phi3core.errors import Cancelled, ServerError, SourceError
from phi3core.evaluation.benchmarks import harness, harness_main, scores
from phi3core.evaluation.benchmarks.harness import Asked


def asked(work: Path, by: str = "likelihood") -> Asked:
    return Asked("http://127.0.0.1:1/v1", "secret", "phi3/3", Path("/model"), 8192, by, "hellaswag-100", work, 5)


def test_likelihoods_are_asked_of_completions_and_answers_of_the_chat(tmp_path: Path) -> None:
    one = " ".join(harness.command(Path("/env/bin/python"), asked(tmp_path)))
    other = " ".join(harness.command(Path("/env/bin/python"), asked(tmp_path, "chat")))

    assert "--model local-completions" in one
    assert '"base_url": "http://127.0.0.1:1/v1/completions"' in one
    assert "--apply_chat_template" not in one
    assert "--model local-chat-completions" in other
    assert '"base_url": "http://127.0.0.1:1/v1/chat/completions"' in other
    assert "--apply_chat_template" in other
    assert "secret" not in one + other, "a command line can be read by all"


def test_a_name_that_holds_a_comma_is_no_further_argument(tmp_path: Path) -> None:
    line = harness.command(
        Path("/env/bin/python"), replace(asked(tmp_path), tokenizer=Path("/a,trust_remote_code=True"))
    )

    given = json.loads(line[line.index("--model_args") + 1])
    assert given["tokenizer"] == "/a,trust_remote_code=True"
    assert "trust_remote_code" not in given
    assert (given["max_length"], given["tokenized_requests"]) == (8192, True)


def test_its_process_has_the_key_and_nothing_else_of_the_app(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "of the app")

    given = harness.environment(asked(tmp_path), None)

    assert given["OPENAI_API_KEY"] == "secret"
    assert given["HF_HUB_OFFLINE"] == "1"
    assert "AWS_SECRET_ACCESS_KEY" not in given


def test_its_progress_is_read_from_what_it_prints(tmp_path: Path) -> None:
    log = tmp_path / "log.txt"
    log.write_text("Requesting API:   0%|          | 0/400 [00:00<?]\rRequesting API:  64%|██████▍   | 256/400 [01:00<")

    found = harness.last_progress(log)

    assert found == (256, 400)


def test_it_is_ended_at_once_where_it_is_stopped(tmp_path: Path) -> None:
    started = time.monotonic()

    status = harness.run(
        [sys.executable, "-c", "import time; time.sleep(60)"], {}, tmp_path / "log.txt", lambda *_: None, lambda: True
    )

    assert status is None
    assert time.monotonic() - started < 20


def test_it_ends_with_the_program_that_started_it(tmp_path: Path) -> None:
    (tmp_path / "lm_eval.py").write_text("import time\nprint('asking', flush=True)\ntime.sleep(60)")
    run = f"runpy.run_path({harness_main.__file__!r}, run_name='__main__')"
    main = f"import runpy, sys; sys.path.insert(0, {str(tmp_path)!r}); {run}"
    with subprocess.Popen([sys.executable, "-c", main], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin
        assert process.stdout
        assert process.stdout.readline() == b"asking\n"
        assert process.poll() is None

        process.stdin.close()

        assert process.wait(20) == 1


def uv_that(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, does: str) -> None:
    program = tmp_path / "uv"
    program.write_text(f"#!/bin/sh\n{does}\n")
    program.chmod(0o700)
    monkeypatch.setattr("uv.find_uv_bin", lambda: str(program))


def test_it_can_be_stopped_while_it_is_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    uv_that(monkeypatch, tmp_path, "exec sleep 60")
    started = time.monotonic()

    with pytest.raises(Cancelled):
        harness.make_environment(tmp_path / "cache", lambda *_: None, lambda: True)

    assert time.monotonic() - started < 20


def test_what_is_built_of_its_packages_sees_no_secret_but_where_packages_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    uv_that(monkeypatch, tmp_path, "echo had: $HF_TOKEN $UV_PUBLISH_TOKEN $UV_INDEX_URL $HTTPS_PROXY >&2; exit 1")
    for name in ("HF_TOKEN", "UV_PUBLISH_TOKEN"):
        monkeypatch.setenv(name, "secret")
    monkeypatch.setenv("UV_INDEX_URL", "https://index.example")
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy.example")

    with pytest.raises(SourceError, match=r"\(had: https://index.example http://proxy.example\)"):
        harness.make_environment(tmp_path / "cache", lambda *_: None, lambda: False)


def test_no_results_are_told_with_its_last_error(tmp_path: Path) -> None:
    (tmp_path / "log.txt").write_text("starting\nLookupError: Resource punkt_tab not found\n")

    with pytest.raises(ServerError, match="no results. It said: LookupError: Resource punkt_tab not found"):
        harness.read_results(tmp_path)


def test_values_are_told_with_their_filter_and_without_an_error_that_is_none() -> None:
    found = {
        "alias": "x",
        "acc,none": 0.5,
        "acc_stderr,none": 0.1,
        "exact_match,strict-match": 0.25,
        "exact_match_stderr,strict-match": 0.2,
        "inst_level_strict_acc,none": 0.3,
        "inst_level_strict_acc_stderr,none": "N/A",
    }

    values = scores.values_of({"results": {"x": found}}, "x")

    assert (values["acc"].value, values["acc"].lower) == (0.5, pytest.approx(0.5 - 0.196))
    assert values["exact_match,strict-match"].error == 0.2
    assert values["inst_level_strict_acc"].lower is None
    assert len(values) == 3


def test_what_another_program_wrote_into_the_tag_is_left_out() -> None:
    assert scores.scores_from_tags([("phi3.benchmark.x", "{}"), ("phi3.benchmark.y", "no JSON")]) == []
