"""What runs in the child: when it waits, what it loads, what it lets in, and when it ends."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest

from phi3core.cell import cell
from phi3core.errors import ServerError
from phi3core.registry import artifacts
from phi3core.serving import spawn
from phi3core.serving.pool import Pool
from phi3core.settings import Settings
from tests.support import children, third_party
from tests.support.fakes import until
from tests.support.serving import http


@contextmanager
def started(command: tuple[str, ...] = spawn.COMMAND) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    """A child that has told its port and was told nothing yet."""
    child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert child.stdout
    try:
        yield child, int(json.loads(child.stdout.readline())["port"])
    finally:
        child.kill()
        child.wait()


def tell(child: subprocess.Popen[bytes], folder: Path, **more: Any) -> None:
    assert child.stdin
    order = {"ref": "x/1", "names": ["x/1"], "artifact": str(folder), "log": str(folder / "log")}
    order |= {
        "trusted": False,
        "code": False,
        "parallel": 8,
        "queue": 32,
        "strict": False,
        "key": "key",
        "cell": None,
        "local": True,
    }
    order |= {"folder": str(folder), "environment": dict(os.environ), **more}
    child.stdin.write(json.dumps(order).encode() + b"\n")
    child.stdin.flush()


def health(port: int) -> dict[str, Any]:
    return dict(http.get(f"http://127.0.0.1:{port}/health", headers={"Authorization": "Bearer key"}).json())


def test_a_child_takes_connections_at_once_and_answers_when_it_is_told_what_to_serve(tmp_path: Path) -> None:
    folder = children.make(tmp_path / "x", says=["a word of the model"])
    with started(children.COMMAND) as (child, port):
        with socket.create_connection(("127.0.0.1", port), timeout=1) as early:
            early.sendall(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n")
            early.settimeout(0.3)
            with pytest.raises(TimeoutError):
                early.recv(1)

            assert psutil.Process(child.pid).name() == "phi3-spare"
            tell(child, folder)

            early.settimeout(20)
            assert early.recv(12) == b"HTTP/1.1 200"
        until(lambda: health(port)["status"] == "ready")
        assert health(port)["model"] == "x/1"
        assert psutil.Process(child.pid).name() == "x/1"
    assert "a word of the model" in (folder / "log").read_text()


@pytest.mark.parametrize("when", ["before it is told anything", "while it loads", "when it is ready"])
def test_a_child_ends_when_its_pipe_closes(tmp_path: Path, when: str) -> None:
    folder = children.make(tmp_path / "x", hold=when == "while it loads")
    with started(children.COMMAND) as (child, port):
        if when != "before it is told anything":
            tell(child, folder)
            until(lambda: health(port)["status"] == ("loading" if when == "while it loads" else "ready"))
        assert child.stdin

        child.stdin.close()

        assert child.wait(10) == 0


def test_what_a_child_imports_ahead_is_light() -> None:
    code = (
        "import sys, importlib, phi3core.serving.child.main as child\n"
        "for name in child._AHEAD: importlib.import_module(name)\n"
        "print(sorted({'torch', 'transformers', 'mlflow', 'pandas', 'streamlit', 'aiohttp'} & set(sys.modules)))"
    )

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout.strip() == "[]"


# ---------------------------------------------------------------- other people's models


def anybody(*_: object) -> bool:
    """Let whatever code it is run."""
    return True


@pytest.fixture
def pool(settings: Settings) -> Iterator[Pool]:
    opened = Pool(settings, approve=anybody)
    yield opened
    opened.close()


def test_a_pickle_is_not_opened(pool: Pool, settings: Settings, tmp_path: Path) -> None:
    folder = third_party.save_pickled(tmp_path / "pickled", tmp_path / "it ran")

    with pytest.raises(ServerError, match="pickle.*PHI3_TRUST_PICKLES"):
        pool.open(children.register(settings, folder)).wait_ready(60)

    assert not (tmp_path / "it ran").exists()


def test_a_pickle_of_a_model_that_is_trusted_is_opened(settings: Settings, tmp_path: Path) -> None:
    folder = third_party.save_pickled(tmp_path / "pickled", tmp_path / "it ran")
    pool = Pool(replace(settings, trusted=frozenset({"pickled"})), approve=anybody)
    try:
        server = pool.open(children.register(settings, folder))
        server.wait_ready(60)
        assert server.status().state == "ready"
    finally:
        pool.close()

    assert (tmp_path / "it ran").exists() == bool(cell.why_none()), "it runs, and writes nowhere"


def test_one_trusted_model_makes_no_other_one_trusted(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_ALLOW_PICKLE_DESERIALIZATION", "true")  # whatever the app itself was started with
    folder = third_party.save_pickled(tmp_path / "pickled", tmp_path / "it ran")
    pool = Pool(replace(settings, trusted=frozenset({"another"})), spare=True, approve=anybody)
    pool.warm()
    try:
        with pytest.raises(ServerError, match="pickle"):
            pool.open(children.register(settings, folder)).wait_ready(60)
    finally:
        pool.close()

    assert not (tmp_path / "it ran").exists()


def test_a_model_of_somebody_else_from_code_is_served(pool: Pool, settings: Settings, tmp_path: Path) -> None:
    server = pool.open(children.register(settings, third_party.save(tmp_path / "echo", "chat")))
    server.wait_ready(60)

    def says(text: str) -> str:
        body = {"messages": [{"role": "user", "content": text}]}
        key = {"Authorization": f"Bearer {server.key}"}
        answer = http.post(f"{server.url}/v1/chat/completions", json=body, headers=key, timeout=60)
        return str(answer.json()["choices"][0]["message"]["content"])

    assert says("hello there").startswith("hello there")
    assert "PATH" in says("environ")
    assert "PHI3_HOME" in os.environ
    assert "PHI3" not in says("environ")
    assert "MLFLOW_TRACKING" not in says("environ")
    assert says(f"read {settings.home / 'mlflow.db'}").startswith("PermissionError")


def test_files_that_are_not_on_this_machine_are_downloaded_for_the_child(
    pool: Pool, settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    version = children.register(settings, third_party.save(tmp_path / "far", "chat"))
    real, seen = artifacts.download, threading.Event()
    monkeypatch.setattr(artifacts, "download", lambda *given: seen.wait(20) and real(*given))
    monkeypatch.setattr(artifacts, "local_folder", lambda *_: None)

    server = pool.open(version)
    until(lambda: (server.status().state, server.status().detail) == ("loading", "downloading"))
    seen.set()
    server.wait_ready(60)

    assert server.status().state == "ready"
