"""python -m phi3core: what it prints, what it refuses, and how it ends."""

from __future__ import annotations

import json
import os
import queue
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from phi3core import tags
from phi3core.access.api_keys import person_with_key
from phi3core.access.login import load_login
from phi3core.build import jobs
from phi3core.cli import chat as chat_commands
from phi3core.cli import group as group_commands
from phi3core.registry import artifacts, reader
from phi3core.settings import Settings, load_settings
from tests.app.servers import FakePool
from tests.conftest import Built
from tests.support import fakes
from tests.support.secrets import LOGIN

COMMANDS = (
    "demo", "build", "models", "compare", "copy", "promote", "rollback", "delete", "request", "approve", "reject",
    "withdraw", "policy", "record", "chat", "batch", "export", "import", "serve", "app", "key",
)  # fmt: skip


def run(*args: str) -> Result:
    """In this process, as a script would see it."""
    return CliRunner().invoke(group_commands.main, args)


def start(*args: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "phi3core", *args],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
        start_new_session=True,
    )


def lines_of(process: subprocess.Popen[str]) -> queue.Queue[str]:
    """Its lines as they come; an empty one when there are no more."""
    lines: queue.Queue[str] = queue.Queue()

    def read() -> None:
        assert process.stdout
        for line in process.stdout:
            lines.put(line)
        lines.put("")

    threading.Thread(target=read, daemon=True).start()
    return lines


def wait_for(lines: queue.Queue[str], text: str, seconds: float = 120) -> None:
    deadline, seen = time.monotonic() + seconds, []
    while True:
        line = lines.get(timeout=max(0.1, deadline - time.monotonic()))
        seen.append(line)
        if text in line:
            return
        assert line, f"it ended without “{text}”: {seen}"


@pytest.fixture
def taken() -> Iterator[int]:
    """A port that somebody listens on."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        yield int(listening.getsockname()[1])


# ---------------------------------------------------------------- help and JSON


def test_help_lists_every_command() -> None:
    told = run("--help")
    assert told.exit_code == 0
    assert sorted(group_commands.main.commands) == sorted(COMMANDS)
    assert all(command in told.output for command in COMMANDS)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help(command: str) -> None:
    told = run(command, "--help")
    assert told.exit_code == 0
    assert told.output.startswith("Usage:")
    assert len(told.output.splitlines()) > 3


def test_the_module_itself_runs_and_stays_light() -> None:
    script = (
        "import sys; sys.argv = ['phi3core', '--help']\ntry:\n    import phi3core.__main__\nexcept SystemExit: pass\n"
    )
    script += "import runpy\ntry:\n    runpy.run_module('phi3core', run_name='__main__')\nexcept SystemExit: pass\n"
    script += "print([m for m in ('torch', 'transformers', 'mlflow', 'streamlit') if m in sys.modules])"
    told = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert "Usage:" in told.stdout
    assert told.stdout.splitlines()[-1] == "[]"


def test_models_prints_json_lists_that_parse(settings: Settings) -> None:
    assert json.loads(run("models", "--json").stdout) == []
    fakes.register(settings, "phi3", tags={tags.WRAPPER: "onnx", tags.SIZE: "7"}, metrics={"tokens_per_second": 3.0})
    fakes.register(settings, "phi3")
    run("promote", "phi3/1", "--stage", "production")
    (model,) = json.loads(run("models", "--json").stdout)
    assert (model["name"], model["newest"], model["production"], model["staging"]) == ("phi3", 2, 1, None)
    newer, older = json.loads(run("models", "phi3", "--json").stdout)
    assert (newer["ref"], older["ref"]) == ("phi3/2", "phi3/1")
    assert (older["stage"], older["aliases"], older["wrapper"]) == ("Production", ["production"], "onnx")
    assert older["size_bytes"] == 7
    assert older["metrics"] == {"tokens_per_second": 3.0}


def test_models_prints_tables_for_people(settings: Settings) -> None:
    assert "python -m phi3core demo" in run("models").output
    fakes.register(settings, "phi3", tags={tags.WRAPPER: "onnx"})
    assert run("models").output.split()[:5] == ["MODEL", "NEWEST", "PRODUCTION", "STAGING", "UPDATED"]
    head, row = run("models", "phi3").output.splitlines()
    assert head.startswith("VERSION")
    assert row.split()[:4] == ["phi3/1", "None", "–", "onnx"]


def test_promote_moves_says_what_it_did_and_prints_json(settings: Settings) -> None:
    for _ in range(2):
        fakes.register(settings, "phi3")
    assert run("promote", "phi3/1", "--stage", "Production").output == "phi3/1 is now in Production.\n"
    assert run("promote", "phi3/2", "--stage", "Production").output == (
        "phi3/2 is now in Production. phi3/1 was archived.\n"
    )
    told = json.loads(run("promote", "phi3/2", "--alias", "champion", "--json").stdout)
    assert (told["ref"], told["aliases"]) == ("phi3/2", ["champion", "production"])
    assert run("promote", "phi3@champion", "--remove-alias", "champion").output == "@champion is removed from phi3.\n"
    assert reader.get_version(settings, "phi3/Production").aliases == ("production",)


# ---------------------------------------------------------------- what is refused


@pytest.mark.parametrize(
    ("args", "sentence"),
    [
        (("models", "nothing"), "There is no registered model “nothing”"),
        (("promote", "nothing/1", "--stage", "Production"), "There is no registered model “nothing”"),
        (("promote", "phi3/9", "--stage", "Production"), "phi3 has no version 9"),
        (("promote", "phi3/1", "--stage", "Live"), "“Live” is not a stage"),
        (("promote", "phi3/1"), "Say one of --stage, --alias or --remove-alias"),
        (("promote", "phi3/1", "--stage", "Staging", "--alias", "a"), "Say one of"),
        (("promote", "phi3/1", "--alias", "production"), "@production is reserved"),
        (("promote", "phi3/1", "--remove-alias", "nobody"), "phi3 has no alias @nobody"),
        (("chat", "phi3", "Hello"), "“phi3” names no version"),
        (("chat", "phi3@nobody", "Hello"), "phi3 has no alias @nobody"),
        (("chat", "phi3/Production", "Hello"), "No version of phi3 is in Production yet"),
        (("chat", "phi3/Archived", "Hello"), "Many versions can be Archived"),
        (("chat", "phi3/1", "  "), "The message is empty"),
        (("serve", "phi3/9", "--port", "0"), "phi3 has no version 9"),
        (("serve", "phi3/1", "--host", "0.0.0.0", "--port", "0"), "set --api-key"),
        (("serve", "phi3/1", "--port", "99999"), "99999"),
        (("batch", "phi3/1", "/nowhere/prompts.txt", "--output", "/dev/null"), "can't be read"),
        (("build", "--wrapper", "onnx", "--name", "a/b"), "A model's name is made of"),
        (("build", "--wrapper", "onnx", "--source", "hf:nope"), "owner/repo"),
        (("build", "--wrapper", "onnx", "--precision", "int3"), "can't be built at “int3”"),
        (("build", "--wrapper", "onnx", "--max-tokens", "0"), "max_tokens must be between 1 and"),
        (("build", "--wrapper", "onnx", "--temperature", "3"), "temperature must be between 0 and 2"),
    ],
)
def test_what_makes_no_sense_gets_one_sentence_and_exit_status_1(
    settings: Settings, args: tuple[str, ...], sentence: str
) -> None:
    fakes.register(settings, "phi3")
    told = run(*args)
    assert told.exit_code == 1, told.output
    assert isinstance(told.exception, SystemExit)
    assert told.stderr.startswith("Error: ")
    assert sentence in told.stderr
    assert len(told.stderr.strip().splitlines()) == 1
    assert told.stdout == ""
    assert [(v.version, v.stage, v.aliases) for v in reader.list_versions(settings, "phi3")] == [(1, "None", ())]
    assert jobs.list_recent(settings) == []


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


@pytest.mark.parametrize("args", [("serve", "phi3/1"), ("app",)])
def test_a_port_in_use_is_told_at_once(settings: Settings, taken: int, args: tuple[str, ...]) -> None:
    fakes.register(settings, "phi3")
    started = time.monotonic()
    told = run(*args, "--port", str(taken))
    assert told.exit_code == 1
    assert told.stderr == f"Error: Port {taken} is in use. Stop what uses it, or choose another with --port.\n"
    assert told.stdout == ""
    assert time.monotonic() - started < 5
    assert jobs.list_recent(settings) == []


def test_a_key_is_shown_once_and_its_line_lets_it_in(settings: Settings) -> None:
    told = run("key", " ada@example.org ")
    assert told.exit_code == 0, told.output
    shown = next(word for word in told.stdout.split() if word.startswith("phi3-"))
    line = told.stdout.strip().splitlines()[-1].strip()
    assert shown not in line
    settings.secrets.write_text(f"[keys]\n{line}\n")
    found = person_with_key(settings, shown)
    assert found is not None
    assert found.name == "ada@example.org"
    assert shown not in run("key", "ada@example.org").stdout


def test_the_app_listens_to_others_only_with_a_login(settings: Settings, taken: int) -> None:
    told = run("app", "--address", "0.0.0.0", "--port", str(taken))
    assert told.exit_code == 1
    assert "would let everybody in" in told.stderr
    settings.secrets.write_text(LOGIN)
    load_login.cache_clear()
    assert "is in use" in run("app", "--address", "0.0.0.0", "--port", str(taken)).stderr  # which is asked after that


def test_a_terminal_has_the_role_of_its_user(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    settings.secrets.write_text('[roles]\nreleaser = ["sue"]\n')
    build = ("build", "--wrapper", "onnx", "--source", str(settings.home / "nowhere"))
    for user, words in (("vic", "Building a version needs the role releaser, and vic is a viewer"), ("sue", "nowhere")):
        monkeypatch.setenv("PHI3_USER", user)
        told = run(*build)
        assert told.exit_code == 1
        assert words in told.stderr


def test_a_store_that_is_down_gets_one_sentence(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    for args in (("models",), ("promote", "phi3/1", "--stage", "Production"), ("chat", "phi3/1", "Hello"), ("demo",)):
        told = run(*args)
        assert told.exit_code == 1, args
        assert "does not answer" in told.stderr
        assert len(told.stderr.strip().splitlines()) == 1


def test_a_folder_that_is_no_model_fails_the_build_with_its_reason(settings: Settings, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    told = run("build", "--wrapper", "transformers", "--source", str(tmp_path / "empty"), "--json")
    assert told.exit_code == 1
    assert str(tmp_path / "empty") in told.stderr
    assert "Traceback" not in told.stderr
    assert told.stdout == ""
    assert reader.list_models(settings) == []
    assert [job.status for job in jobs.list_recent(settings)] == ["FAILED"]


# ---------------------------------------------------------------- with the real model


@pytest.fixture
def home(built: Built, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """A store of one's own that holds the built versions; their files are shared."""
    mine = tmp_path / "mine"
    mine.mkdir()
    shutil.copy(built.settings.home / "mlflow.db", mine / "mlflow.db")
    monkeypatch.setenv("PHI3_HOME", str(mine))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "")
    return load_settings()


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
    from phi3core.store.client import experiment_id, mlflow_client

    traces = mlflow_client(home).search_traces(locations=[experiment_id(home, tags.CONVERSATIONS)], flush=True)
    kept = {trace.info.trace_id: trace.info.tags[tags.VERSION] for trace in traces}
    assert kept[f"tr-{turn['id']}"] == "phi3-embedded/2"


@pytest.mark.model
@pytest.mark.parametrize("number", [1, 2])
def test_the_openai_client_gets_a_stream_from_serve(home: Settings, number: int) -> None:
    from openai import AuthenticationError, OpenAI

    process = start("serve", f"phi3-embedded/{number}", "--port", "0", "--api-key", "sesame")
    try:
        lines = lines_of(process)
        address = ""
        while not address:
            line = lines.get(timeout=60)
            assert line, process.stderr.read() if process.stderr else ""
            if "Serving" in line:
                address = next(word for word in line.split() if word.startswith("http"))
        client = OpenAI(base_url=address, api_key="sesame")
        _ready(address)
        listed = [model.id for model in client.models.list()]
        assert listed == [f"phi3-embedded/{number}"]
        question = [{"role": "user", "content": "What is the capital of Spain?"}]
        stream = client.chat.completions.create(
            model=listed[0], messages=question, stream=True, max_tokens=30, temperature=0
        )
        pieces = [
            chunk.choices[0].delta.content for chunk in stream if chunk.choices and chunk.choices[0].delta.content
        ]
        assert len(pieces) > 3
        assert len("".join(pieces).split()) > 3
        with pytest.raises(AuthenticationError, match="API key is missing or wrong"):
            OpenAI(base_url=address, api_key="wrong", max_retries=0).models.list()
        process.send_signal(signal.SIGINT)
        assert process.wait(10) == 0
        assert "Traceback" not in (process.stderr.read() if process.stderr else "")
    finally:
        process.kill()
        process.wait()


def _ready(address: str) -> None:
    def loaded() -> bool:
        try:
            with urllib.request.urlopen(address.removesuffix("/v1") + "/health", timeout=5) as answer:
                return bool(json.load(answer)["status"] == "ready")
        except urllib.error.URLError:
            return False  # it says where it will listen a moment before it does

    fakes.until(loaded, 60)


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
    told, errors = ended.communicate(timeout=120)
    assert ended.returncode == 0, errors
    assert "1 of 2" not in told
    listed = reader.list_versions(settings, "phi3-embedded")
    assert [(v.version, v.wrapper, v.stage) for v in listed] == [(2, "onnx", "None"), (1, "transformers", "None")]
    assert listed[0].tags[tags.SIGNATURE] == "prompt"
    assert settings.artifacts
    kept = {Path(artifacts.artifact_uri(settings, v).removeprefix("file://")).parent.name for v in listed}
    found = {path.parent.parent.name for path in settings.artifacts.rglob("artifacts/MLmodel")}
    assert found == kept, "a build that was not registered left its files"


# ---------------------------------------------------------------- files of prompts, with a made-up model


@pytest.fixture
def answering(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakePool]:
    """phi3/1, answered for in this process; a prompt of more than 200 letters does not fit its context."""
    fakes.register(settings, "phi3")
    pool = FakePool()

    @contextmanager
    def ours(_: Settings) -> Iterator[FakePool]:
        yield pool

    monkeypatch.setattr(chat_commands, "_pool", ours)
    yield pool
    pool.close()


def batch(prompts: Path, output: Path, *lines: str) -> Result:
    prompts.write_text("\n".join(lines))
    return run("batch", "phi3/1", str(prompts), "--output", str(output))


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


def test_a_home_of_nobody_is_no_source(settings: Settings) -> None:
    told = run("build", "--wrapper", "onnx", "--source", "~nosuchuser/x")
    assert told.exit_code == 1
    assert isinstance(told.exception, SystemExit), told.exception
    assert told.stderr.startswith("Error: ")
    assert "~nosuchuser/x" in told.stderr
    assert len(told.stderr.strip().splitlines()) == 1
    assert reader.list_models(settings) == []
