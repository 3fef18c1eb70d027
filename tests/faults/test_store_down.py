"""A store that is not there, does not answer, or answers nonsense: a sentence, soon, and nothing half-done."""

from __future__ import annotations

import contextlib
import os
import socket
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from phi3core.build import jobs
from phi3core.build.spec import BuildSpec
from phi3core.errors import Phi3Error, StoreDown, StoreError
from phi3core.promotion.promote import promote, set_alias
from phi3core.registry import reader
from phi3core.settings import Settings, load_settings
from phi3core.store import timeouts
from tests.support.fakes import until
from tests.support.proxy import proxy

At = Callable[[str], Settings]

CALLS: dict[str, Callable[[Settings], object]] = {
    "list models": reader.list_models,
    "list versions": lambda config: reader.list_versions(config, "phi3"),
    "resolve": lambda config: reader.get_version(config, "phi3/Production"),
    "promote": lambda config: promote(config, "phi3/1", "Production"),
    "set an alias": lambda config: set_alias(config, "phi3/1", "champion"),
    "build": lambda config: jobs.start(config, BuildSpec("onnx")),
    "list builds": jobs.list_recent,
}


@pytest.fixture
def at(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> At:
    """Settings whose store is at that address."""

    def load(uri: str) -> Settings:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
        return load_settings()

    return load


@pytest.fixture
def closed_port() -> Iterator[int]:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield bound.getsockname()[1]


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_a_store_that_is_not_there_is_told_soon(at: At, closed_port: int, call: Callable[[Settings], object]) -> None:
    config = at(f"http://127.0.0.1:{closed_port}")
    started = time.monotonic()

    with pytest.raises(StoreDown) as caught:
        call(config)

    assert time.monotonic() - started < 5
    text = str(caught.value)
    assert f"The MLflow store at http://127.0.0.1:{closed_port} does not answer" in text
    assert "Check that it runs and that MLFLOW_TRACKING_URI is right" in text
    assert "\n" not in text


@pytest.mark.parametrize("listens", [True, False], ids=["accepts and says nothing", "takes no connection"])
def test_a_silent_store_is_told_within_five_seconds(at: At, listens: bool) -> None:
    with silent(listens) as port:
        config = at(f"http://127.0.0.1:{port}")
        started = time.monotonic()

        with pytest.raises(StoreDown, match="does not answer \\(not a word within 4 s\\)"):
            reader.list_models(config)

        assert time.monotonic() - started < 5


def test_a_silent_store_is_waited_for_once_and_not_by_everybody(at: At, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "1")
    with silent() as port:
        config = at(f"http://127.0.0.1:{port}")
        started = time.monotonic()

        for call in (reader.list_models, jobs.list_recent, reader.list_models):
            with pytest.raises(StoreDown, match="not a word"):
                call(config)

    assert time.monotonic() - started < 2


def test_a_store_that_falls_silent_and_comes_back_is_used_again(
    at: At, http_server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "1")
    with proxy(http_server) as made:
        config = at(made.url)
        reader.list_models(config)
        made.delay = 3.0
        with pytest.raises(StoreDown, match="not a word"):
            reader.list_models(config)

        made.delay = 0.0

        until(lambda: not raises(StoreDown, lambda: reader.list_models(config)), 10)


def test_files_are_waited_for_longer_and_only_they(at: At, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "1")

    def for_files() -> float:
        return float(os.environ["MLFLOW_HTTP_REQUEST_TIMEOUT"])  # MLflow reads it at each call

    with timeouts.allow_transfer_time():
        assert for_files() > 60
        with timeouts.allow_transfer_time():
            pass
        assert for_files() > 60
        assert timeouts.silence_limit() == 1

    assert for_files() == timeouts.silence_limit() == 1


@contextlib.contextmanager
def silent(listens: bool = True) -> Iterator[int]:
    """A port where nobody says a word, or that drops what wants to connect, as a blackhole does."""
    with socket.socket() as bound, contextlib.ExitStack() as waiting:
        bound.bind(("127.0.0.1", 0))
        bound.listen(100 if listens else 0)
        for _ in range(0 if listens else 3):  # what fills the queue: the kernel drops the next ones
            caller = waiting.enter_context(socket.socket())
            caller.setblocking(False)
            caller.connect_ex(bound.getsockname())
        yield bound.getsockname()[1]


def raises(kind: type[Exception], call: Callable[[], object]) -> bool:
    try:
        call()
    except kind:
        return True
    return False


class _Answering(BaseHTTPRequestHandler):
    status, body = 200, b""

    def do_GET(self) -> None:
        self._answer()

    def do_POST(self) -> None:
        self._answer()

    def _answer(self) -> None:
        self.send_response(self.status)
        self.send_header("Content-Length", str(len(self.body)))
        self.end_headers()
        self.wfile.write(self.body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.mark.parametrize(
    ("status", "body"),
    [(200, b"<html>a login page</html>"), (404, b"<html>nginx</html>"), (401, b"who are you"), (502, b"")],
)
def test_something_else_at_the_stores_address_is_told(at: At, status: int, body: bytes) -> None:
    server = HTTPServer(("127.0.0.1", 0), type("Answering", (_Answering,), {"status": status, "body": body}))
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    try:
        config = at(f"http://127.0.0.1:{server.server_port}")
        with pytest.raises(StoreError) as caught:
            reader.list_models(config)
    finally:
        server.shutdown()
        server.server_close()

    assert "Traceback" not in str(caught.value)


def test_a_password_in_the_address_is_not_shown(at: At, closed_port: int) -> None:
    config = at(f"http://ada:secret@127.0.0.1:{closed_port}")

    with pytest.raises(StoreDown) as caught:
        reader.list_models(config)

    assert "secret" not in str(caught.value)


def test_a_database_that_is_none_is_told(at: At, tmp_path: Path) -> None:
    (tmp_path / "broken.db").write_text("this is no database " * 100)

    started = time.monotonic()
    with pytest.raises(StoreError):
        reader.list_models(at(f"sqlite:///{tmp_path}/broken.db"))

    assert time.monotonic() - started < 5


def test_a_database_below_what_is_no_folder_is_told(at: At, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    started = time.monotonic()
    with pytest.raises(StoreError):
        reader.list_models(at(f"sqlite:///{tmp_path}/file/mlflow.db"))

    assert time.monotonic() - started < 5


def test_an_address_of_no_kind_is_told(at: At) -> None:
    with pytest.raises(Phi3Error):
        reader.list_models(at("gopher://store.example"))


def test_a_database_that_somebody_else_is_writing_is_waited_for(settings: Settings) -> None:
    reader.list_models(settings)
    database = sqlite3.connect(settings.home / "mlflow.db", check_same_thread=False)
    database.execute("BEGIN IMMEDIATE")
    threading.Timer(1.0, database.rollback).start()

    run_id = jobs.start(settings, BuildSpec("onnx", source=str(settings.home)))

    assert [*jobs.follow(settings, run_id)][-1].status == "FAILED"
