"""The real app, started as “make run” starts it, and a real Chromium."""

from __future__ import annotations

import contextlib
import http.server
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psutil
import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright

from phi3core.settings import Settings

ROOT = Path(__file__).resolve().parent.parent.parent
PATIENCE = 90
"""Seconds until a journey gives up: a busy machine is slow, which is nothing that they are about."""
expect.set_options(timeout=PATIENCE * 1000)
_CHROMIUM = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


@dataclass
class App:
    """A running app: its launcher, which a person would press Ctrl-C in, and everything below it."""

    launcher: subprocess.Popen[str]
    port: int
    settings: Settings
    said: Path

    @property
    def url(self) -> str:
        return f"http://localhost:{self.port}"

    def server(self) -> psutil.Process:
        """The app server's process."""
        return self._below("server.py")[0]

    @property
    def secrets(self) -> Path:
        """The file with the remote endpoints; the app reads it anew for every page."""
        return self.settings.secrets

    def model_servers(self, ref: str = "") -> list[psutil.Process]:
        """Those that serve a version, or that version; not the spare, which serves none yet."""
        named = [(found.name(), found) for found in self._below("phi3core.serving.child.main")]
        # The system cuts a process's name to 15 bytes.
        return [found for name, found in named if (name == ref[:15] if ref else name != "phi3-spare")]

    def builds(self) -> list[psutil.Process]:
        return self._below("phi3core.build.job_main")

    def interrupt(self) -> int:
        """Press Ctrl-C, and return the exit status."""
        self.launcher.send_signal(signal.SIGINT)
        return self.launcher.wait(PATIENCE)

    def output(self) -> str:
        return self.said.read_text()

    def _below(self, word: str) -> list[psutil.Process]:
        found = []
        for process in psutil.Process(self.launcher.pid).children(recursive=True):
            with contextlib.suppress(psutil.NoSuchProcess):
                if any(word in part for part in process.cmdline()):
                    found.append(process)
        return found


def _settings(home: Path, cache: Path) -> Settings:
    return Settings(home, f"sqlite:///{home / 'mlflow.db'}", cache, secrets=home.parent / "secrets.toml")


def launch(home: Path, cache: Path, wait: float = 400, options: tuple[str, ...] = (), store: str = "") -> App:
    """Start the app over a home, with these options, and wait until it answers. store: where it is not the home's."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    env = {name: value for name, value in os.environ.items() if not name.startswith(("MLFLOW_", "PHI3_"))}
    env |= {"PHI3_HOME": str(home), "PHI3_CACHE": str(cache), "PYTHONUNBUFFERED": "1", "HOME": str(home.parent)}
    env["PHI3_SECRETS"] = str(home.parent / "secrets.toml")
    env |= {"MLFLOW_DISABLE_TELEMETRY": "true", "DO_NOT_TRACK": "true"}  # as the Makefile sets them
    env |= {"MLFLOW_TRACKING_URI": store} if store else {}
    said = home.parent / f"said-{port}.txt"
    with said.open("w") as file:
        launcher = subprocess.Popen(
            [sys.executable, "-m", "phi3core", "app", "--port", str(port), *options],
            cwd=ROOT,
            env=env,
            stdout=file,
            stderr=subprocess.STDOUT,
            text=True,
        )
    app = App(launcher, port, _settings(home, cache), said)
    until(lambda: "The playground is at" in app.output() or launcher.poll() is not None, wait, app.output)
    assert launcher.poll() is None, app.output()
    with urllib.request.urlopen(f"{app.url}/_stcore/health", timeout=PATIENCE) as answer:
        assert answer.status == 200
    return app


def end(app: App) -> None:
    """However the test went: nothing of this app stays."""
    family = []
    with contextlib.suppress(psutil.NoSuchProcess):
        family = [psutil.Process(app.launcher.pid), *psutil.Process(app.launcher.pid).children(recursive=True)]
    if app.launcher.poll() is None:
        app.launcher.send_signal(signal.SIGINT)
        with contextlib.suppress(subprocess.TimeoutExpired):
            app.launcher.wait(15)
    for process in family:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()


def until(condition: Callable[[], Any], seconds: float = PATIENCE, told: Callable[[], str] = lambda: "") -> Any:
    """What the condition gives once it is true."""
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < deadline, f"still not so after {seconds:.0f} s. {told()[-2000:]}"
        time.sleep(0.05)
    return value


def gone(process: psutil.Process) -> bool:
    """Ended; one that nobody has waited for yet counts as ended too."""
    try:
        return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


@pytest.fixture(scope="package")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("e2e") / "home"


@pytest.fixture(scope="package")
def app(home: Path, cache: Path) -> Iterator[App]:
    """The app of the journeys; its demo is prepared by the first start, as for a new user."""
    app = launch(home, cache)
    yield app
    end(app)
    shutil.rmtree(home, ignore_errors=True)


@pytest.fixture(scope="package")
def chromium() -> Iterator[Browser]:
    path = os.environ.get("PHI3_CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
    assert path, "No Chromium: set PHI3_CHROMIUM, or run “make test”, which finds or installs one."
    with sync_playwright() as playwright:
        # Its crash reporter looks for a home folder of its own.
        with tempfile.TemporaryDirectory() as folder:
            browser = playwright.chromium.launch(
                executable_path=path,
                args=_CHROMIUM,
                env={**os.environ, "HOME": folder},  # type: ignore[dict-item]
            )
            yield browser
            browser.close()


@pytest.fixture(scope="package")
def outside() -> list[str]:
    """Every request of the journeys' pages that was addressed to another machine."""
    return []


@pytest.fixture
def context(chromium: Browser, outside: list[str], request: pytest.FixtureRequest) -> Iterator[BrowserContext]:
    context = chromium.new_context(**{"viewport": {"width": 1280, "height": 1000}, **getattr(request, "param", {})})
    context.set_default_timeout(PATIENCE * 1000)

    def note(address: str) -> None:
        parts = urlsplit(address)
        if parts.scheme in ("http", "https", "ws", "wss") and parts.hostname not in ("localhost", "127.0.0.1"):
            outside.append(address)

    context.on("request", lambda sent: note(sent.url))
    yield context
    context.close()
    assert outside == [], "the page asked other machines for something"


@pytest.fixture
def page(context: BrowserContext, request: pytest.FixtureRequest) -> Iterator[Page]:
    page = context.new_page()
    yield page
    if getattr(request.node, "failed", False):
        folder = ROOT / "test-results"
        folder.mkdir(exist_ok=True)
        name = re.sub(r"[^\w-]+", "-", request.node.name)
        with contextlib.suppress(Exception):  # a crashed page has no picture; the failure itself is told already
            page.screenshot(path=folder / f"{name}.png", full_page=True)
            (folder / f"{name}.txt").write_text(page.locator("body").inner_text())


@pytest.fixture
def trap() -> Iterator[tuple[str, list[str]]]:
    """A web server on this machine, and what it was asked for."""
    asked: list[str] = []

    class Trap(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Trap) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}", asked
        server.shutdown()


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    report = (yield).get_result()  # type: ignore[func-returns-value]
    if report.when == "call" and report.failed:
        item.failed = True  # type: ignore[attr-defined]
