"""phi3 chat and phi3 batch."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from click.testing import Result

from phi3core import tags
from phi3core.cli import chat as chat_commands
from phi3core.engine.interface import Done, End, Options, Piece, Prompt
from phi3core.settings import Settings
from phi3core.store.client import experiment_id, mlflow_client
from tests.app.servers import FakePool
from tests.cli.commands import run, start
from tests.support import fakes
from tests.support.fakes import FakeEngine


@pytest.fixture
def answering(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakePool]:
    """phi3/1, answered for in this process; a prompt of more than 200 letters does not fit its context."""
    fakes.register(settings, "phi3")
    pool = FakePool()

    @contextmanager
    def ours(_: Settings) -> Iterator[FakePool]:
        yield pool

    monkeypatch.setattr(chat_commands, "open_pool", ours)
    yield pool
    pool.close()


def batch(prompts: Path, output: Path, *lines: str) -> Result:
    prompts.write_text("\n".join(lines))
    return run("batch", "phi3/1", str(prompts), "--output", str(output))


@pytest.mark.model
def test_promote_and_chat_with_production_streams_an_answer(home: Settings) -> None:
    assert run("promote", "phi3-embedded/2", "--stage", "Production").exit_code == 0
    process = start("chat", "phi3-embedded/Production", "Tell me a long story about a ship.", "--max-tokens", "120")
    assert process.stdout
    assert process.stderr
    arrivals = []
    while chunk := os.read(process.stdout.fileno(), 4096):
        arrivals.append((time.monotonic(), chunk))
    told = process.stderr.read()
    assert process.wait(10) == 0, told
    assert len(arrivals) > 5, "the answer came in one piece"
    assert arrivals[-1][0] - arrivals[0][0] > 0.1
    assert len(b"".join(chunk for _, chunk in arrivals).decode().split()) > 20
    assert "phi3-embedded/2 · " in told
    assert "tokens/s" in told


@pytest.mark.model
def test_chat_prints_the_whole_turn_as_json_and_keeps_it(home: Settings) -> None:
    told = run(
        "chat", "phi3-embedded/2", "What is the capital of Spain?", "--json", "--max-tokens", "20", "--seed", "1"
    )
    turn = json.loads(told.stdout)
    assert "Madrid" in turn["answer"]
    assert (turn["ref"], turn["state"]) == ("phi3-embedded/2", "done")
    assert turn["options"] == {"max_tokens": 20, "seed": 1}

    traces = mlflow_client(home).search_traces(locations=[experiment_id(home, tags.CONVERSATIONS)], flush=True)
    kept = {trace.info.trace_id: trace.info.tags[tags.VERSION] for trace in traces}
    assert kept[f"tr-{turn['id']}"] == "phi3-embedded/2"


@pytest.mark.model
def test_a_batch_answers_every_prompt_in_its_order(home: Settings, tmp_path: Path) -> None:
    (tmp_path / "prompts").write_text('What is the capital of Spain?\n\n{"prompt": "Say\\nhello."}\n')
    output = tmp_path / "answers.jsonl"
    options = ("--max-tokens", "20", "--seed", "1")
    told = run("batch", "phi3-embedded/2", str(tmp_path / "prompts"), "--output", str(output), *options)
    assert told.exit_code == 0, told.output
    turns = [json.loads(line) for line in output.read_text().splitlines()]
    assert [turn["question"] for turn in turns] == ["What is the capital of Spain?", "Say\nhello."]
    assert "Madrid" in turns[0]["answer"]
    assert all(turn["state"] == "done" for turn in turns)


@pytest.mark.parametrize(
    ("lines", "sentence"),
    [
        ("", "holds no prompts"),
        ("\n\n", "holds no prompts"),
        ('fine\n{"prompt": \n', "Line 2"),
        ('{"other": 1}', "Line 1"),
    ],
)
def test_a_batch_file_that_makes_no_sense_is_refused_by_its_line(
    settings: Settings, tmp_path: Path, lines: str, sentence: str
) -> None:
    fakes.register(settings, "phi3")
    (tmp_path / "prompts").write_text(lines)
    told = run("batch", "phi3/1", str(tmp_path / "prompts"), "--output", str(tmp_path / "out"))
    assert told.exit_code == 1
    assert sentence in told.stderr
    assert not (tmp_path / "out").exists()


class Crowd(FakeEngine):
    """Counts the answers that it writes at once."""

    now = most = 0

    def stream(
        self, prompt: Prompt, options: Options, stopped: Callable[[], bool]
    ) -> Iterator[Piece | End | Done | None]:
        self.now += 1
        self.most = max(self.most, self.now)
        yield from super().stream(prompt, options, stopped)
        self.now -= 1


def test_a_batch_has_several_answers_written_at_once_and_keeps_their_order(answering: FakePool, tmp_path: Path) -> None:
    engine = Crowd(pause=0.01)
    answering.engines = lambda ref: engine
    prompts = [f"Prompt {number}" for number in range(20)]

    assert batch(tmp_path / "prompts", tmp_path / "answers", *prompts).exit_code == 0

    assert [json.loads(line)["question"] for line in (tmp_path / "answers").read_text().splitlines()] == prompts
    assert 2 <= engine.most <= 8


def test_a_batch_that_fails_leaves_the_answers_of_an_earlier_one(answering: FakePool, tmp_path: Path) -> None:
    prompts, output = tmp_path / "prompts", tmp_path / "answers.jsonl"
    assert batch(prompts, output, "One", "Two").exit_code == 0
    earlier = output.read_text()
    assert [json.loads(line)["question"] for line in earlier.splitlines()] == ["One", "Two"]

    told = batch(prompts, output, "Three", "long " * 100)

    assert told.exit_code == 1
    assert "Prompt 2 of 2" in told.stderr
    assert output.read_text() == earlier
    assert batch(prompts, output, "Four").exit_code == 0
    assert [json.loads(line)["question"] for line in output.read_text().splitlines()] == ["Four"]
    assert sorted(path.name for path in tmp_path.glob("answers*")) == ["answers.jsonl"]


@pytest.mark.parametrize("output", ["nowhere/answers.jsonl", "a-file/answers.jsonl", "a-folder"])
def test_answers_that_cant_be_written_are_told_in_one_sentence(
    answering: FakePool, tmp_path: Path, output: str
) -> None:
    (tmp_path / "a-file").write_text("")
    (tmp_path / "a-folder").mkdir()
    told = batch(tmp_path / "prompts", tmp_path / output, "One")
    assert told.exit_code == 1
    assert isinstance(told.exception, SystemExit), told.exception
    last = told.stderr.strip().splitlines()[-1]
    assert last.startswith("Error: ")
    assert str(tmp_path) in last
    assert answering.opened == [], "it is told before anything is asked"
