"""phi3 serve, phi3 app and phi3 key."""

from __future__ import annotations

import json
import signal
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from phi3core.access import sessions
from phi3core.access.api_keys import person_with_key
from phi3core.access.login import load_login
from phi3core.build import jobs
from phi3core.cli.serve import app_folder
from phi3core.errors import NotFound
from phi3core.settings import Settings
from tests.cli.commands import lines_of, run, start
from tests.conftest import ROOT
from tests.support import fakes
from tests.support.secrets import LOGIN


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


def test_an_admin_ends_the_sign_ins_of_a_person(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    sessions.open_session(settings, "0a", "ada@example.org", 8)
    settings.secrets.write_text(f"{LOGIN}[roles]\nadmin = ['root@example.org']\n")
    load_login.cache_clear()
    assert "needs the role admin" in run("sign-out", "ada@example.org").stderr
    assert sessions.is_open(settings, "0a")
    monkeypatch.setenv("PHI3_USER", "root@example.org")
    assert run("sign-out", "Ada@example.org").stdout == "1 sign-in of Ada@example.org ended.\n"
    assert not sessions.is_open(settings, "0a")


def test_the_app_listens_to_others_only_with_a_login(settings: Settings, taken: int) -> None:
    told = run("app", "--address", "0.0.0.0", "--port", str(taken))
    assert told.exit_code == 1
    assert "would let everybody in" in told.stderr
    settings.secrets.write_text(LOGIN)
    load_login.cache_clear()
    assert "is in use" in run("app", "--address", "0.0.0.0", "--port", str(taken)).stderr  # which is asked after that


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


def made_app(folder: Path) -> Path:
    (folder / "pages").mkdir(parents=True)
    (folder / "server.py").write_text("")
    return folder


def test_the_app_is_the_checkouts_else_the_installed_one_else_it_is_said_to_be_missing(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="The pages are not here"):
        app_folder(tmp_path)
    installed = made_app(tmp_path / "phi3_playground")
    assert app_folder(tmp_path) == installed
    assert app_folder(made_app(tmp_path / "checkout")) == tmp_path / "checkout"
    assert app_folder() == ROOT
