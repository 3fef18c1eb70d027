"""The few tests of the pool on real processes: they serve, die, are started again, and none is left behind."""

from __future__ import annotations

import os
import shutil
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from phi3core.errors import ServerError
from phi3core.registry import reader
from phi3core.serving.handle import ModelServer
from phi3core.serving.pool import Pool, PoolTimeouts
from phi3core.serving.spawn import Child
from phi3core.settings import Settings
from tests.conftest import MODEL, Built
from tests.support import children
from tests.support.fakes import register, until
from tests.support.serving import client_of, http

MLMODEL = """
flavors:
  python_function:
    artifacts:
      phi3-mini-onnx: {path: artifacts/phi3-mini-onnx, uri: nowhere}
    loader_module: mlflow.pyfunc.loaders.code_model
metadata:
  phi3: {wrapper: onnx, options: {max_tokens: 5, temperature: 0}}
"""


def logged(tiny_onnx: Path, folder: Path) -> Path:
    """What the engine reads of a logged ONNX model."""
    shutil.copytree(tiny_onnx, folder / "artifacts" / "phi3-mini-onnx")
    (folder / "MLmodel").write_text(MLMODEL)
    return folder


def store_in(home: Path, empty_store: Path) -> Settings:
    (home / "logs").mkdir(parents=True)
    shutil.copy(empty_store, home / "mlflow.db")
    return Settings(home, f"sqlite:///{home / 'mlflow.db'}", home / "cache", secrets=home / "none")


def processes() -> set[int]:
    """The processes that this one has started and that live."""
    found = psutil.Process().children()
    return {child.pid for child in found if child.status() != psutil.STATUS_ZOMBIE}


def ask(server: ModelServer, **more: Any) -> str:
    body = {"model": server.ref, "prompt": "Hello", **more}
    answer = http.post(
        f"{server.url}/v1/completions", json=body, headers={"Authorization": f"Bearer {server.key}"}, timeout=60
    )
    return str(answer.json()["choices"][0]["text"])


# ---------------------------------------------------------------- one that serves


@pytest.fixture(scope="module")
def served(
    tiny_onnx: Path, empty_store: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Pool, ModelServer]]:
    """A version of a model with spaces in its name, loaded."""
    folder = tmp_path_factory.mktemp("served")
    settings = store_in(folder / "home", empty_store)
    register(settings, "my tiny model", source=logged(tiny_onnx, folder / "logged").as_uri())
    pool = Pool(settings)
    server = pool.open(reader.get_version(settings, "my tiny model/1"))
    server.wait_ready(60)
    yield pool, server
    pool.close()


def test_an_opened_version_answers(served: tuple[Pool, ModelServer]) -> None:
    pool, server = served

    answer = client_of(server.url, server.key).completions.create(model=server.ref, prompt="Hello", max_tokens=3)

    assert answer.model == "my tiny model/1"
    assert answer.usage is not None
    assert answer.usage.completion_tokens == 3
    assert server.status().state == "ready"
    assert pool.running() == [server]


def test_a_child_answers_nobody_without_its_key(served: tuple[Pool, ModelServer]) -> None:
    _, server = served

    for path in ("/v1/models", "/props", "/nothing"):
        assert http.get(f"{server.url}{path}").status_code == 401
    for path in ("/v1/chat/completions", "/invocations", "/tokenize"):
        assert http.post(f"{server.url}{path}", json={}).status_code == 401
    assert http.get(f"{server.url}/health").json() == {"status": "ready"}, "nor which model it is"
    assert "127.0.0.1" in server.url
    assert server.key not in " ".join(psutil.Process(server.pid).cmdline())


def test_a_model_with_spaces_in_its_name_opens_too(served: tuple[Pool, ModelServer]) -> None:
    _, server = served

    health = http.get(f"{server.url}/health", headers={"Authorization": f"Bearer {server.key}"})
    assert health.json()["model"] == "my tiny model/1"


def test_the_system_is_to_kill_a_model_server_and_not_the_app(served: tuple[Pool, ModelServer]) -> None:
    _, server = served
    theirs = int(Path(f"/proc/{server.pid}/oom_score_adj").read_text())

    assert theirs > int(Path("/proc/self/oom_score_adj").read_text())


@pytest.mark.parametrize("proxy", ["http_proxy", "HTTP_PROXY", "ALL_PROXY"])
def test_a_proxy_of_the_environment_is_not_asked_for_a_childs_health(
    served: tuple[Pool, ModelServer], monkeypatch: pytest.MonkeyPatch, proxy: str
) -> None:
    from phi3core import http_client

    monkeypatch.setenv(proxy, "http://127.0.0.1:9")
    http_client.local_client.cache_clear()
    _, server = served

    server.check_health(5)

    assert server.seconds_silent == 0


# ---------------------------------------------------------------- others


def test_damaged_weights_are_told_in_a_sentence_and_once_repaired_they_open(
    settings: Settings, tiny_onnx: Path, tmp_path: Path
) -> None:
    folder = logged(tiny_onnx, tmp_path / "logged")
    register(settings, "tiny", source=folder.as_uri())
    version = reader.get_version(settings, "tiny/1")
    weights = folder / "artifacts" / "phi3-mini-onnx" / "model.onnx.data"
    whole = weights.read_bytes()
    weights.write_bytes(whole[:100])
    pool = Pool(settings)
    try:
        server = pool.open(version)
        with pytest.raises(ServerError, match="tiny/1 could not start. The model can't be loaded") as caught:
            server.wait_ready(60)
        assert "Traceback" not in str(caught.value)
        assert server.status().state == "failed"
        weights.write_bytes(whole)

        server = pool.open(version)
        server.wait_ready(60)

        assert server.status().state == "ready"
    finally:
        pool.close()


def test_a_child_from_its_spare_days_to_the_end_of_its_pool(settings: Settings, tmp_path: Path) -> None:
    version = children.register(settings, children.make(tmp_path / "talker"))
    before = processes()
    pool = Pool(settings, spare=True, timeouts=PoolTimeouts(poll=0.05), start_child=children.start)
    try:
        pool.warm()
        (spare,) = until(lambda: processes() - before)

        server = pool.open(version)
        assert server.pid == spare
        server.wait_ready(60)
        assert ask(server) == " 0 1 2"
        (replaced,) = until(lambda: processes() - before - {spare})
        assert pool.running() == [server]

        os.kill(server.pid, signal.SIGKILL)
        (again,) = until(lambda: [found for found in pool.running() if found.pid != spare])
        again.wait_ready(60)
        assert again.pid == replaced
        assert again.status().detail == "started again: Its process was killed (signal 9)."
        assert "was killed (signal 9)" in server.status().reason
        assert ask(again) == " 0 1 2"
        until(lambda: len(processes() - before) == 2)
    finally:
        pool.close()

    assert processes() - before == set()


def test_a_killed_child_has_failed_and_opening_again_starts_another(settings: Settings, tmp_path: Path) -> None:
    version = children.register(settings, children.make(tmp_path / "fragile"))
    pool = Pool(settings, start_child=children.start, watch=False)
    try:
        server = pool.open(version)
        server.wait_ready(60)
        os.kill(server.pid, signal.SIGKILL)

        until(lambda: not server.alive())
        status = server.status()
        assert status.state == "failed"
        assert "was killed (signal 9)" in status.reason
        assert pool.running() == []

        again = pool.open(version)
        again.wait_ready(60)

        assert again.pid != server.pid
        assert pool.running() == [again]
    finally:
        pool.close()
    assert not psutil.pid_exists(again.pid)


def test_a_process_whose_main_thread_has_ended_is_asked_nothing_more(tmp_path: Path) -> None:
    # What a killed process looks like until its last thread is gone.
    ends = "import ctypes, threading, time; threading.Thread(target=time.sleep, args=(0.5,)).start()"
    child = Child(tmp_path / "log", (sys.executable, "-c", f"{ends}; ctypes.CDLL(None).pthread_exit(None)"))
    try:
        until(lambda: psutil.Process(child.pid).status() == psutil.STATUS_ZOMBIE)

        assert not child.alive()
        assert child.exit_code is not None, "it is waited for, so that its reason can be told"
    finally:
        child.end()


def test_a_child_that_holds_its_interpreter_does_not_answer_but_its_effort_shows(tmp_path: Path) -> None:
    folder = children.make(tmp_path / "computing", hold=True)
    child = children.start(tmp_path / "log")
    try:
        assert child.health(0.1) is None, "it has no port yet"
        until(lambda: child.port)
        order = {"ref": "x/1", "names": ["x/1"], "artifact": str(folder), "log": str(tmp_path / "log")}
        order |= {"network": False, "cell": None, "local": True}
        child.send({**order, "trusted": False, "code": False, "parallel": 1, "queue": 1, "strict": False})
        until(lambda: (child.health(5) or {}).get("status") == "loading")
        assert child.rss() > 10_000_000
        os.kill(child.pid, signal.SIGSTOP)
        stopped = child.effort()
        assert child.health(0.2) is None
        assert child.effort() == stopped
        os.kill(child.pid, signal.SIGCONT)
        (folder / "go").touch()
        until(lambda: (child.health(5) or {}).get("status") == "ready")
        assert child.effort()[1] > 0
    finally:
        child.end()
    assert (child.alive(), child.exit_code, child.rss(), child.effort()) == (False, 0, 0, (0.0, 0))


def test_an_interpreter_that_is_held_counts_as_effort(tmp_path: Path) -> None:
    folder = children.make(tmp_path / "computing", spin=1.5)
    child = children.start(tmp_path / "log")
    try:
        until(lambda: child.port)
        order = {"ref": "x/1", "names": ["x/1"], "artifact": str(folder), "log": str(tmp_path / "log")}
        order |= {"network": False, "cell": None, "local": True}
        child.send({**order, "trusted": False, "code": False, "parallel": 1, "queue": 1, "strict": False})
        efforts = set()
        while (child.health(0.1) or {}).get("status") != "ready":
            efforts.add(child.effort())
            time.sleep(0.05)
    finally:
        child.end()

    assert len(efforts) > 3


@pytest.mark.model
def test_a_real_version_is_served_by_a_child_that_never_loads_torch(built: Built) -> None:
    opened = Pool(built.settings)
    try:
        server = opened.open(reader.get_version(built.settings, f"{MODEL}/2"))
        server.wait_ready(60)
        client = client_of(server.url, server.key)
        stream = client.chat.completions.create(
            model=f"{MODEL}/2", messages=[{"role": "user", "content": "Say hello."}], max_tokens=8, stream=True
        )
        text = "".join(chunk.choices[0].delta.content or "" for chunk in stream)
        libraries = {Path(mapped.path).name for mapped in psutil.Process(server.pid).memory_maps()}
    finally:
        opened.close()

    assert text
    assert not any("torch" in name for name in libraries)
