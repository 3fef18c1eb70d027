"""An app or a parent that ends or is killed leaves no model server behind."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import openai
import psutil
import pytest

from phi3core.promotion import code_trust
from phi3core.registry.models import Version
from phi3core.settings import Settings
from tests.support import children, third_party
from tests.support.fakes import until
from tests.support.serving import client_of, http


def gone(process: psutil.Process) -> bool:
    try:
        return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


PARENT = """
import sys
from phi3core.settings import load_settings
from phi3core.registry import reader
from phi3core.serving.pool import Pool
from tests.support import children
config = load_settings()
pool = Pool(config, spare=True, start_child=children.start)
ready, held = (pool.open(reader.get_version(config, ref)) for ref in ("ready/1", "held/1"))
ready.wait_ready(60)
pool.warm()
print("open", flush=True)
sys.stdin.read()
"""


def test_a_killed_parent_leaves_neither_ready_nor_loading_nor_spare_children(
    named: Callable[..., Version], tmp_path: Path
) -> None:
    named("ready")
    named("held", hold=True)
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=children.ROOT
    )
    assert parent.stdout
    try:
        assert parent.stdout.readline() == "open\n"
        (tmp_path / "held" / "go").touch()  # the spare one starts when nothing is loading
        family = until(lambda: (found := psutil.Process(parent.pid).children()) and len(found) == 3 and found)
    finally:
        parent.kill()
        parent.communicate()

    until(lambda: all(gone(child) for child in family), 10)


@pytest.fixture
def app(settings: Settings, tmp_path: Path) -> Iterator[tuple[subprocess.Popen[bytes], str]]:
    """The real app, without its demo, and a version whose answer takes a minute."""
    code_trust.trust(settings, children.register(settings, third_party.save(tmp_path / "echo", "chat")).ref)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "streamlit", "run", "server.py", f"--server.port={port}"]
    with (tmp_path / "app.log").open("wb") as log:
        process = subprocess.Popen(command, cwd=children.ROOT, stdout=log, stderr=subprocess.STDOUT)
    url = f"http://127.0.0.1:{port}"

    def up() -> bool:
        assert process.poll() is None, (tmp_path / "app.log").read_text()
        try:
            return http.get(f"{url}/_stcore/health").status_code == 200
        except httpx.TransportError:
            return False

    try:
        until(up, 60)
        yield process, url
    finally:
        process.kill()
        process.wait()


def test_the_app_serves_its_pages_and_every_version_on_one_port_until_it_is_told_to_end(
    app: tuple[subprocess.Popen[bytes], str],
) -> None:
    process, url = app

    answer = client_of(url).chat.completions.create(
        model="echo/1", messages=[{"role": "user", "content": "hello there"}]
    )

    assert str(answer.choices[0].message.content).startswith("hello there")
    assert [model.id for model in client_of(url).models.list()] == ["echo/1"]
    assert http.get(f"{url}/v1/models", headers={"Host": "evil.example"}).status_code == 403
    assert "<html" in http.get(url).text
    ends_while_it_answers(process, url, signal.SIGTERM)


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_the_app_ends_at_once_and_alone_while_an_answer_is_being_written(
    app: tuple[subprocess.Popen[bytes], str], how: signal.Signals
) -> None:
    ends_while_it_answers(*app, how)


def ends_while_it_answers(process: subprocess.Popen[bytes], url: str, how: signal.Signals) -> None:
    stream = client_of(url).chat.completions.create(
        model="echo/1", messages=[{"role": "user", "content": "slow"}], stream=True
    )
    family = until(lambda: (found := psutil.Process(process.pid).children()) and len(found) == 2 and found, 30)
    started = time.monotonic()

    process.send_signal(how)

    with pytest.raises((openai.APIError, httpx.TransportError)):
        list(stream)
    process.wait(15)
    until(lambda: all(gone(child) for child in family), 10)
    assert time.monotonic() - started < 8
