"""The harness's command line, environment and output."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import pytest

from phi3core.errors import ServerError
from phi3core.evaluation.benchmarks import harness, scores
from phi3core.evaluation.benchmarks.harness import Asked


def asked(work: Path, by: str = "likelihood") -> Asked:
    return Asked("http://127.0.0.1:1/v1", "secret", "phi3/3", Path("/model"), 8192, by, "hellaswag-100", work, 5)


def test_likelihoods_are_asked_of_completions_and_answers_of_the_chat(tmp_path: Path) -> None:
    one = " ".join(harness.command(Path("/env/bin/python"), asked(tmp_path)))
    other = " ".join(harness.command(Path("/env/bin/python"), asked(tmp_path, "chat")))

    assert "--model local-completions" in one
    assert "base_url=http://127.0.0.1:1/v1/completions" in one
    assert "--apply_chat_template" not in one
    assert "--model local-chat-completions" in other
    assert "base_url=http://127.0.0.1:1/v1/chat/completions" in other
    assert "--apply_chat_template" in other
    assert "secret" not in one + other, "a command line can be read by all"


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
