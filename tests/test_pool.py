"""Child processes that serve versions, on the tiny model: real processes, real loading, in a second."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import httpx
import psutil
import pytest

from phi3core import registry
from phi3core.errors import NotFound, ServerError
from phi3core.registry import Version
from phi3core.serving.pool import Pool
from phi3core.settings import Settings
from phi3core.store import client

from .conftest import MODEL, Built
from .fakes import register, until
from .serving import client_of

MLMODEL = """
flavors:
  python_function:
    artifacts:
      phi3-mini-onnx: {path: artifacts/phi3-mini-onnx, uri: nowhere}
    loader_module: mlflow.pyfunc.loaders.code_model
metadata:
  phi3: {wrapper: onnx, options: {max_tokens: 5, temperature: 0}}
"""


@pytest.fixture
def artifact(tiny_onnx: Path, tmp_path: Path) -> Path:
    """What the engine reads of a logged ONNX model."""
    folder = tmp_path / "logged"
    shutil.copytree(tiny_onnx, folder / "artifacts" / "phi3-mini-onnx")
    (folder / "MLmodel").write_text(MLMODEL)
    return folder


@pytest.fixture
def version(settings: Settings, artifact: Path) -> Version:
    register(settings, "tiny", source=artifact.as_uri())
    return registry.resolve(settings, "tiny/1")


@pytest.fixture
def pool(settings: Settings) -> Iterator[Pool]:
    opened = Pool(settings)
    yield opened
    opened.close()


def test_an_opened_version_answers(pool: Pool, version: Version) -> None:
    server = pool.open(version)
    server.wait_ready(60)

    answer = client_of(server.url, server.key).completions.create(model="tiny/1", prompt="Hello", max_tokens=3)

    assert answer.model == "tiny/1"
    assert answer.usage is not None
    assert answer.usage.completion_tokens == 3
    assert server.status().state == "ready"
    assert pool.running() == [server]


def test_a_child_answers_nobody_without_its_key(pool: Pool, version: Version) -> None:
    server = pool.open(version)
    server.wait_ready(60)

    assert httpx.get(f"{server.url}/v1/models").status_code == 401
    assert "127.0.0.1" in server.url
    assert server.key not in " ".join(psutil.Process(server.pid).cmdline())


def test_opening_twice_gives_the_same_process(pool: Pool, version: Version) -> None:
    assert pool.open(version) is pool.open(version)
    assert len(pool.running()) == 1


def test_opening_returns_before_the_model_has_loaded(pool: Pool, version: Version) -> None:
    server = pool.open(version)

    assert server.status().state in ("starting", "loading")


def test_two_versions_have_a_process_each(pool: Pool, settings: Settings, version: Version) -> None:
    register(settings, "tiny", source=version.source)
    servers = [pool.open(version), pool.open(registry.resolve(settings, "tiny/2"))]

    for server in servers:
        server.wait_ready(60)

    assert servers[0].pid != servers[1].pid
    assert servers[0].url != servers[1].url
    assert pool.running() == servers


def test_a_killed_child_has_failed_and_opening_again_starts_another(pool: Pool, version: Version) -> None:
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


def test_damaged_weights_are_told_in_a_sentence(pool: Pool, version: Version, artifact: Path) -> None:
    weights = artifact / "artifacts" / "phi3-mini-onnx" / "model.onnx.data"
    weights.write_bytes(weights.read_bytes()[:100])
    server = pool.open(version)

    with pytest.raises(ServerError, match="tiny/1 could not start. The model can't be loaded") as caught:
        server.wait_ready(60)

    assert "Traceback" not in str(caught.value)
    assert server.status().state == "failed"


def test_a_version_that_was_repaired_opens_again(pool: Pool, version: Version, artifact: Path) -> None:
    weights = artifact / "artifacts" / "phi3-mini-onnx" / "model.onnx.data"
    whole = weights.read_bytes()
    weights.write_bytes(whole[:100])
    with pytest.raises(ServerError):
        pool.open(version).wait_ready(60)
    weights.write_bytes(whole)

    server = pool.open(version)
    server.wait_ready(60)

    assert server.status().state == "ready"


def test_a_model_of_somebody_else_says_what_to_do(pool: Pool, version: Version, artifact: Path) -> None:
    (artifact / "MLmodel").write_text("flavors: {python_function: {}}")

    with pytest.raises(ServerError, match="neither of our wrappers.*mlflow models serve"):
        pool.open(version).wait_ready(60)


def test_a_version_whose_files_are_gone_starts_nothing(pool: Pool, version: Version, artifact: Path) -> None:
    shutil.rmtree(artifact)

    with pytest.raises(NotFound, match="The files of tiny/1 are gone"):
        pool.open(version)

    assert pool.running() == []


def test_a_closed_pool_leaves_no_process(pool: Pool, version: Version) -> None:
    server = pool.open(version)
    server.wait_ready(60)

    pool.close()

    assert not psutil.pid_exists(server.pid)


def test_a_model_with_spaces_in_its_name_opens_too(pool: Pool, settings: Settings, version: Version) -> None:
    register(settings, "my tiny model", source=version.source)

    server = pool.open(registry.resolve(settings, "my tiny model/1"))
    server.wait_ready(60)

    assert httpx.get(f"{server.url}/health").json()["model"] == "my tiny model/1"


PARENT = """
import sys
from phi3core import registry, settings
from phi3core.serving.pool import Pool
config = settings.load()
server = Pool(config).open(registry.resolve(config, "tiny/1"))
server.wait_ready(60)
print(server.pid, flush=True)
sys.stdin.read()
"""


def test_a_child_ends_when_its_parent_is_killed(version: Version) -> None:
    parent = subprocess.Popen([sys.executable, "-c", PARENT], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert parent.stdout
    child = psutil.Process(int(parent.stdout.readline()))
    assert child.is_running()

    parent.kill()
    parent.communicate()

    until(lambda: not child.is_running() or child.status() == psutil.STATUS_ZOMBIE)


@pytest.mark.model
def test_a_real_version_is_served_by_a_child_that_never_loads_torch(built: Built) -> None:
    opened = Pool(built.settings)
    try:
        server = opened.open(registry.resolve(built.settings, f"{MODEL}/2"))
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


def test_a_version_that_opens_slowly_holds_up_no_other(
    pool: Pool, settings: Settings, version: Version, monkeypatch: pytest.MonkeyPatch
) -> None:
    register(settings, "tiny", source=version.source)
    other = registry.resolve(settings, "tiny/2")
    waiting, go = threading.Event(), threading.Event()
    real = registry.local_folder

    def slow(config: Settings, asked: Version) -> Path | None:
        if asked.ref == version.ref:
            waiting.set()
            assert go.wait(60)
        return real(config, asked)

    monkeypatch.setattr(registry, "local_folder", slow)
    held = threading.Thread(target=pool.open, args=(version,), daemon=True)
    quick = threading.Thread(target=pool.open, args=(other,), daemon=True)
    held.start()
    try:
        assert waiting.wait(20)
        quick.start()
        until(lambda: [server.ref for server in pool.running()] == ["tiny/2"], 10)
    finally:
        go.set()
        held.join(20)
        quick.join(20)
    assert sorted(server.ref for server in pool.running()) == ["tiny/1", "tiny/2"]


def test_two_that_open_the_same_version_at_once_share_its_process(pool: Pool, version: Version) -> None:
    opened = []
    threads = [threading.Thread(target=lambda: opened.append(pool.open(version))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)

    assert len({server.pid for server in opened}) == 1
    assert len(opened) == 4


def test_a_version_made_anew_under_the_same_number_has_another_process(
    pool: Pool, settings: Settings, version: Version, artifact: Path, tmp_path: Path
) -> None:
    first = pool.open(version)
    client(settings).delete_registered_model("tiny")
    anew = shutil.copytree(artifact, tmp_path / "anew")
    register(settings, "tiny", source=anew.as_uri())
    again = registry.resolve(settings, "tiny/1")
    assert again.ref == version.ref

    second = pool.open(again)

    assert second.pid != first.pid
    assert str(anew) in psutil.Process(second.pid).cmdline()
    assert pool.open(again) is second
