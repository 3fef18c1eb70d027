"""Model servers that die, hang, crawl or fill the memory, and clients that leave: what everybody else sees of it."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import openai
import psutil
import pytest

from phi3core.errors import ServerError
from phi3core.registry.models import Version
from phi3core.serving.handle import ModelServer
from phi3core.serving.pool import Pool, PoolTimeouts
from phi3core.settings import Settings
from tests.serving.gateway.test_routes import passing_on
from tests.support import children, third_party
from tests.support.fakes import until
from tests.support.serving import client_of

HELLO: list[Any] = [{"role": "user", "content": "Where?"}]
HUNG = 1.5  # seconds of silence, instead of a minute


@pytest.fixture
def pool(settings: Settings) -> Iterator[Pool]:
    opened = Pool(settings, command=children.COMMAND, rules=PoolTimeouts(every=0.05, health=0.2, hung=HUNG))
    yield opened
    opened.close()


@pytest.fixture
def client(settings: Settings, pool: Pool) -> Iterator[openai.OpenAI]:
    """The official client, at the app's /v1."""
    with passing_on(settings, pool) as (url, _):
        yield client_of(url)


@pytest.fixture
def named(settings: Settings, tmp_path: Path) -> Callable[..., Version]:
    """A version of a model of that name whose child does what is said."""

    def make(name: str, **what: Any) -> Version:
        return children.register(settings, children.make(tmp_path / name, **what))

    return make


def gone(process: psutil.Process) -> bool:
    try:
        return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def ready(pool: Pool, but: int = 0) -> ModelServer:
    """The one server that runs, once it has loaded. but: the pid of one that does not count any more."""
    (server,) = until(lambda: [server for server in pool.running() if server.pid != but])
    server.wait_ready(60)
    return server


# ---------------------------------------------------------------- dead


def test_an_answer_whose_server_is_killed_breaks_off_with_the_reason_and_the_next_is_answered(
    client: openai.OpenAI, pool: Pool, named: Callable[..., Version]
) -> None:
    named("talker", words=100, pause=0.05)
    stream = client.chat.completions.create(model="talker/1", messages=HELLO, stream=True)
    for _ in range(5):
        next(stream)
    killed = pool.running()[0].pid
    os.kill(killed, signal.SIGKILL)

    with pytest.raises(openai.APIError) as caught:
        list(stream)

    assert caught.value.message.startswith(
        "The model server of talker/1 died in mid-answer. Its process was killed (signal 9)."
    )
    assert ready(pool, but=killed).ref == "talker/1"
    answer = client.chat.completions.create(model="talker/1", messages=HELLO, max_tokens=2)
    assert answer.choices[0].message.content == " 0 1"


def test_an_answer_in_one_piece_whose_server_dies_is_an_error_with_its_last_words(
    client: openai.OpenAI, named: Callable[..., Version]
) -> None:
    named("mortal", words=10, pause=0.05, die_at=3)

    with pytest.raises(openai.InternalServerError) as caught:
        client.chat.completions.create(model="mortal/1", messages=HELLO)

    assert caught.value.status_code == 502
    assert "The model server of mortal/1 died before it answered. Its process was killed (signal 9)." in str(
        caught.value
    )
    assert "I am going to die" in str(caught.value)


def test_a_server_that_died_while_nobody_asked_is_opened_again_for_the_next_request(
    client: openai.OpenAI, pool: Pool, named: Callable[..., Version]
) -> None:
    named("talker", words=3)
    client.chat.completions.create(model="talker/1", messages=HELLO)
    killed = psutil.Process(pool.running()[0].pid)
    killed.kill()
    until(lambda: not killed.is_running() or killed.status() == psutil.STATUS_ZOMBIE)

    answer = client.chat.completions.create(model="talker/1", messages=HELLO)

    assert answer.choices[0].message.content == " 0 1 2"


# ---------------------------------------------------------------- hung


def test_a_server_that_hangs_is_ended_told_and_replaced(
    client: openai.OpenAI, pool: Pool, named: Callable[..., Version]
) -> None:
    named("talker", words=200, pause=0.05)
    stream = client.chat.completions.create(model="talker/1", messages=HELLO, stream=True)
    next(stream)
    (server,) = pool.running()
    os.kill(server.pid, signal.SIGSTOP)
    started = time.monotonic()

    with pytest.raises(openai.APIError) as caught:
        list(stream)

    assert HUNG <= time.monotonic() - started < HUNG + 12
    assert "died in mid-answer. It stopped answering: nothing for" in caught.value.message
    assert server.status().state == "failed"
    until(lambda: not psutil.pid_exists(server.pid), 5)  # gone for good, and waited for
    again = ready(pool, but=server.pid)
    assert again.status().detail.startswith("started again: It stopped answering")


def test_a_server_that_is_silent_says_so_before_it_is_ended(settings: Settings, named: Callable[..., Version]) -> None:
    pool = Pool(settings, command=children.COMMAND, rules=PoolTimeouts(every=0.05, health=0.2))
    try:
        server = pool.open(named("talker"))
        server.wait_ready(60)
        os.kill(server.pid, signal.SIGSTOP)

        status = until(lambda: (found := server.status()).detail and found, 20)

        assert (status.state, status.detail.startswith("no sign of life for")) == ("ready", True)
        os.kill(server.pid, signal.SIGCONT)
        until(lambda: server.status().detail == "", 20)
        assert server.alive()
    finally:
        pool.close()


def test_a_server_that_hangs_while_it_loads_is_ended_and_told(pool: Pool, named: Callable[..., Version]) -> None:
    server = pool.open(named("held", hold=True))
    until(lambda: server.status().state == "loading")
    os.kill(server.pid, signal.SIGSTOP)

    with pytest.raises(ServerError, match="held/1 could not start. It stopped answering: nothing for"):
        server.wait_ready(30)

    until(lambda: not server.alive(), 5)
    time.sleep(0.5)
    assert pool.running() == []


# ---------------------------------------------------------------- slow


@pytest.mark.parametrize("what", [{"load_seconds": 2 * HUNG}, {"spin": 4 * HUNG}], ids=["waiting", "computing"])
def test_a_server_that_is_slow_to_load_is_given_its_time(
    client: openai.OpenAI, named: Callable[..., Version], what: dict[str, Any]
) -> None:
    named("slow", **what)

    assert client.chat.completions.create(model="slow/1", messages=HELLO).choices[0].message.content == " 0 1 2"


def test_many_who_wait_for_a_slow_one_are_all_answered(
    client: openai.OpenAI, pool: Pool, named: Callable[..., Version]
) -> None:
    named("slow", load_seconds=2)
    answers: list[str | None] = []

    def ask() -> None:
        answers.append(client.chat.completions.create(model="slow/1", messages=HELLO).choices[0].message.content)

    threads = [threading.Thread(target=ask) for _ in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)

    assert answers == [" 0 1 2"] * 12
    assert len(pool.servers()) == 1


# ---------------------------------------------------------------- out of memory


def test_a_model_that_fills_the_memory_says_so(client: openai.OpenAI, named: Callable[..., Version]) -> None:
    named("large", fail="memory")

    with pytest.raises(openai.InternalServerError, match="Memory ran out while large/1 was loading. Close other"):
        client.chat.completions.create(model="large/1", messages=HELLO)


def test_a_server_that_the_system_kills_while_it_loads_points_at_memory(
    client: openai.OpenAI, pool: Pool, named: Callable[..., Version]
) -> None:
    named("large", size=1_500_000_000, fail=9)

    with pytest.raises(openai.InternalServerError) as caught:
        client.chat.completions.create(model="large/1", messages=HELLO)

    assert (
        "Its process was killed (signal 9) while the model was loading. Most likely memory ran out: the model needs "
        "about 2.0 GB." in str(caught.value)
    )
    time.sleep(0.5)
    assert pool.running() == [], "loaded once more, it would fill the memory once more"


def test_the_system_is_to_kill_a_model_server_and_not_the_app(pool: Pool, named: Callable[..., Version]) -> None:
    server = pool.open(named("any"))
    server.wait_ready(60)

    theirs = int(Path(f"/proc/{server.pid}/oom_score_adj").read_text())

    assert theirs > int(Path("/proc/self/oom_score_adj").read_text())


# ---------------------------------------------------------------- clients that leave


@pytest.mark.parametrize("streamed", [True, False], ids=["a stream", "one piece"])
def test_a_client_that_hangs_up_stops_the_model(
    settings: Settings, pool: Pool, named: Callable[..., Version], tmp_path: Path, streamed: bool
) -> None:
    version = named("talker", words=2000, pause=0.02)
    pool.open(version).wait_ready(60)
    with passing_on(settings, pool) as (url, _):
        body = {"model": "talker/1", "messages": HELLO, "stream": streamed, "max_tokens": 2000}
        with _request(url, body) as sock:
            if streamed:
                assert sock.recv(4096).startswith(b"HTTP/1.1 200")
            until(lambda: pool.running()[0].status().state == "busy")

        until((tmp_path / "talker" / "ended").exists, 5)

        assert int((tmp_path / "talker" / "ended").read_text()) < 500
        until(lambda: pool.running()[0].status().state == "ready", 5)
        until(lambda: not pool.running()[0].held, 5)


def test_a_client_that_hangs_up_while_the_version_loads_asks_it_nothing(
    settings: Settings, pool: Pool, named: Callable[..., Version], tmp_path: Path
) -> None:
    named("held", hold=True, words=2000, pause=0.02)
    with passing_on(settings, pool) as (url, _):
        with _request(url, {"model": "held/1", "messages": HELLO, "max_tokens": 2000}):
            until(lambda: pool.running() and pool.running()[0].status().state == "loading")
            assert pool.running()[0].held
        until(lambda: not pool.running()[0].held, 5)

        (tmp_path / "held" / "go").touch()
        server = ready(pool)

        time.sleep(0.5)
        assert server.status().state == "ready"
        assert not (tmp_path / "held" / "ended").exists()


def test_a_client_that_does_not_read_holds_up_nobody(
    settings: Settings, pool: Pool, named: Callable[..., Version]
) -> None:
    named("talker", words=20)
    with passing_on(settings, pool) as (url, _):
        body = {"model": "talker/1", "messages": HELLO, "stream": True}
        with _request(url, body), _request(url, body):
            answer = client_of(url).chat.completions.create(model="talker/1", messages=HELLO)

    assert answer.choices[0].message.content.startswith(" 0 1")  # type: ignore[union-attr]


def _request(url: str, body: dict[str, Any]) -> socket.socket:
    """A connection on which a chat was asked for and nothing was read."""
    host, port = url.removeprefix("http://").split(":")
    text = json.dumps(body).encode()
    sock = socket.create_connection((host, int(port)), timeout=30)
    head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: {host}:{port}\r\nContent-Type: application/json\r\n"
    sock.sendall(f"{head}Content-Length: {len(text)}\r\n\r\n".encode() + text)
    return sock


# ---------------------------------------------------------------- none left behind

PARENT = """
import sys
from phi3core.registry import reader
from phi3core.serving.pool import Pool
from phi3core.settings import load_settings
from tests.support import children
config = load_settings()
pool = Pool(config, spare=True, command=children.COMMAND)
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
    children.register(settings, third_party.save(tmp_path / "echo", "chat"))
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
            return httpx.get(f"{url}/_stcore/health").status_code == 200
        except httpx.TransportError:
            return False

    try:
        until(up, 60)
        yield process, url
    finally:
        process.kill()
        process.wait()


def test_the_app_serves_its_pages_and_every_version_on_one_port(app: tuple[subprocess.Popen[bytes], str]) -> None:
    _, url = app

    answer = client_of(url).chat.completions.create(
        model="echo/1", messages=[{"role": "user", "content": "hello there"}]
    )

    assert str(answer.choices[0].message.content).startswith("hello there")
    assert [model.id for model in client_of(url).models.list()] == ["echo/1"]
    assert httpx.get(f"{url}/v1/models", headers={"Host": "evil.example"}).status_code == 403
    assert "<html" in httpx.get(url).text


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_the_app_ends_at_once_and_alone_while_an_answer_is_being_written(
    app: tuple[subprocess.Popen[bytes], str], how: signal.Signals
) -> None:
    process, url = app
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
