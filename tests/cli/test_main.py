"""The program: its help, how it starts, and what every command refuses in one sentence."""

from __future__ import annotations

import subprocess
import sys

import pytest

from phi3core.build import jobs
from phi3core.cli.main import main
from phi3core.registry import reader
from phi3core.settings import Settings
from tests.cli.commands import run
from tests.support import fakes

COMMANDS = (
    "demo", "build", "inspect", "measure", "parity", "verify-environment", "models", "compare", "copy", "promote",
    "adopt", "rollback", "delete", "request", "approve", "reject", "withdraw", "policy", "record", "chat",
    "batch", "export", "import", "serve", "app", "key", "sign-out", "trust", "prompts", "evaluate", "evaluations",
    "review", "benchmark", "package",
)  # fmt: skip


def test_help_lists_every_command() -> None:
    told = run("--help")
    assert told.exit_code == 0
    assert sorted(main.commands) == sorted(COMMANDS)
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
        (
            ("batch", "phi3/1", "/nowhere/prompts.txt", "--output", "/dev/null"),
            "can't be read: No such file",
        ),
        (("key", "ada"), "“ada” is no e-mail address: a key belongs to a person."),
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


def test_a_store_that_is_down_gets_one_sentence(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    for args in (("models",), ("promote", "phi3/1", "--stage", "Production"), ("chat", "phi3/1", "Hello"), ("demo",)):
        told = run(*args)
        assert told.exit_code == 1, args
        assert "does not answer" in told.stderr
        assert len(told.stderr.strip().splitlines()) == 1
