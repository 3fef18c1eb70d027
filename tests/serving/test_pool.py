"""Child processes that serve versions, on the tiny model: real processes, real loading, in a second."""

from __future__ import annotations

import io
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from phi3core import tags
from phi3core.errors import Busy, NotFound, ServerError
from phi3core.registry import artifacts, reader
from phi3core.registry.models import Version
from phi3core.serving import handle
from phi3core.serving.handle import ModelServer
from phi3core.serving.pool import Pool, PoolTimeouts
from phi3core.settings import Settings
from phi3core.store.client import mlflow_client
from tests.conftest import MODEL, Built
from tests.support import children
from tests.support.fakes import register, until
from tests.support.serving import client_of

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
    return reader.get_version(settings, "tiny/1")


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
    servers = [pool.open(version), pool.open(reader.get_version(settings, "tiny/2"))]

    for server in servers:
        server.wait_ready(60)

    assert servers[0].pid != servers[1].pid
    assert servers[0].url != servers[1].url
    assert pool.running() == servers


def test_a_killed_child_has_failed_and_opening_again_starts_another(settings: Settings, version: Version) -> None:
    pool = Pool(settings, rules=PoolTimeouts(every=600))  # which does not look after it meanwhile
    try:
        _kill_and_open_again(pool, version)
    finally:
        pool.close()


def _kill_and_open_again(pool: Pool, version: Version) -> None:
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

    server = pool.open(reader.get_version(settings, "my tiny model/1"))
    server.wait_ready(60)

    assert httpx.get(f"{server.url}/health").json()["model"] == "my tiny model/1"


PARENT = """
import sys
from phi3core.registry import reader
from phi3core.serving.pool import Pool
from phi3core.settings import load_settings
config = load_settings()
server = Pool(config).open(reader.get_version(config, "tiny/1"))
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


def test_a_version_that_opens_slowly_holds_up_no_other(
    pool: Pool, settings: Settings, version: Version, monkeypatch: pytest.MonkeyPatch
) -> None:
    register(settings, "tiny", source=version.source)
    other = reader.get_version(settings, "tiny/2")
    waiting, go = threading.Event(), threading.Event()
    real = artifacts.local_folder

    def slow(config: Settings, asked: Version) -> Path | None:
        if asked.ref == version.ref:
            waiting.set()
            assert go.wait(60)
        return real(config, asked)

    monkeypatch.setattr(artifacts, "local_folder", slow)
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
    mlflow_client(settings).delete_registered_model("tiny")
    anew = shutil.copytree(artifact, tmp_path / "anew")
    register(settings, "tiny", source=anew.as_uri())
    again = reader.get_version(settings, "tiny/1")
    assert again.ref == version.ref

    second = pool.open(again)

    assert second.pid != first.pid
    assert not first.alive()
    assert pool.running() == [second]
    assert pool.open(again) is second


# ---------------------------------------------------------------- what it is doing


@pytest.fixture
def make_pool(settings: Settings) -> Iterator[Callable[..., Pool]]:
    """A pool of made-up children, which looks after them twenty times a second."""
    made: list[Pool] = []

    def make(idle_minutes: float = 30, available: Callable[[], int] = lambda: 10**12, **options: Any) -> Pool:
        rules = PoolTimeouts(**{"every": 0.05, "health": 0.2, "grace": 0.0, **options.pop("rules", {})})
        own = replace(settings, idle_minutes=idle_minutes)
        made.append(Pool(own, rules=rules, available=available, command=children.COMMAND, **options))
        return made[-1]

    yield make
    for pool in made:
        pool.close()


@pytest.fixture
def quick(make_pool: Callable[..., Pool]) -> Pool:
    return make_pool()


@pytest.fixture
def named(settings: Settings, tmp_path: Path) -> Callable[..., Version]:
    """A version of a model of that name whose child does what is said."""

    def make(name: str, **what: Any) -> Version:
        return children.register(settings, children.make(tmp_path / name, **what))

    return make


def processes() -> set[int]:
    """The processes that this one has started and that live."""
    found = psutil.Process().children()
    return {child.pid for child in found if child.status() != psutil.STATUS_ZOMBIE}


def ask(server: ModelServer, **more: Any) -> str:
    body = {"model": server.ref, "prompt": "Hello", **more}
    answer = httpx.post(
        f"{server.url}/v1/completions", json=body, headers={"Authorization": f"Bearer {server.key}"}, timeout=60
    )
    return str(answer.json()["choices"][0]["text"])


def test_loading_tells_how_much_of_the_model_is_in_memory(quick: Pool, named: Callable[..., Version]) -> None:
    server = quick.open(named("large", size=120_000_000, grow=120_000_000))

    until(lambda: server.status().state == "loading")
    details = []
    while (status := server.status()).state == "loading":
        details.append(status.detail)
        time.sleep(0.05)

    assert status.state == "ready"
    assert all(detail.endswith(" of 120 MB") for detail in details)
    shares = [int(detail.split()[0]) for detail in details]
    assert shares == sorted(shares)
    assert shares[0] < 60 < shares[-1] <= 120


def test_who_answers_is_busy_and_ready_after(quick: Pool, named: Callable[..., Version]) -> None:
    server = quick.open(named("talker", words=20, pause=0.1))
    server.wait_ready(60)
    assert server.status().state == "ready"

    asking = threading.Thread(target=ask, args=(server,))
    asking.start()
    busy = until(lambda: (status := server.status()).state == "busy" and status)
    asking.join()

    assert busy.open
    assert busy.detail == "1 answer"
    until(lambda: server.status().state == "ready", 5)


def test_a_failure_tells_the_last_lines_of_its_own_log(quick: Pool, named: Callable[..., Version]) -> None:
    version = named("unlucky", says=["one", "two", "", "three"], fail=6)
    with pytest.raises(ServerError):
        quick.open(version).wait_ready(60)

    with pytest.raises(ServerError) as caught:
        quick.open(version).wait_ready(60)

    text = str(caught.value)
    assert "was killed (signal 6) while the model was loading" in text
    assert text.endswith("one\ntwo\nthree")
    assert text.count("one") == 1, "the words of the process before this one are not its own"


def test_what_could_not_be_loaded_gives_its_memory_back(quick: Pool, named: Callable[..., Version]) -> None:
    server = quick.open(named("broken", fail="raise"))

    with pytest.raises(ServerError, match="no such weights"):
        server.wait_ready(60)

    until(lambda: not server.alive(), 10)
    assert "no such weights" in server.status().reason


def test_a_process_that_can_not_be_started_is_told(settings: Settings, named: Callable[..., Version]) -> None:
    pool = Pool(settings, spare=True, command=("/there/is/no/such/program",), rules=PoolTimeouts(every=0.05))
    pool.warm()
    try:
        for name in ("one", "two"):
            with pytest.raises(ServerError, match="A model server can't be started: .*no/such/program"):
                pool.open(named(name))
            time.sleep(0.2)
        assert pool.servers() == []
    finally:
        pool.close()


# ---------------------------------------------------------------- a spare one


def test_a_spare_child_is_taken_by_the_next_open_and_replaced(
    make_pool: Callable[..., Pool], named: Callable[..., Version]
) -> None:
    before = processes()
    pool = make_pool(spare=True)
    pool.warm()
    (spare,) = until(lambda: processes() - before)

    server = pool.open(named("first"))
    assert server.pid == spare
    server.wait_ready(60)
    assert ask(server) == " 0 1 2"

    (replaced,) = until(lambda: processes() - before - {spare})
    assert pool.running() == [server]
    assert pool.open(named("second")).pid == replaced


def test_the_first_open_brings_a_spare_child_once_it_has_loaded(
    make_pool: Callable[..., Pool], named: Callable[..., Version], tmp_path: Path
) -> None:
    before = processes()
    pool = make_pool(spare=True)
    version = named("first", hold=True)
    server = pool.open(version)
    until(lambda: server.status().state == "loading")
    time.sleep(0.3)
    assert processes() - before == {server.pid}, "a spare child would slow down what somebody waits for"

    (tmp_path / "first" / "go").touch()

    until(lambda: len(processes() - before) == 2)


def test_a_pool_that_was_not_asked_to_keeps_no_spare_child(quick: Pool, named: Callable[..., Version]) -> None:
    before = processes()
    server = quick.open(named("only"))
    server.wait_ready(60)
    time.sleep(0.3)

    assert processes() - before == {server.pid}


def test_a_spare_child_that_has_died_is_not_given_out(
    make_pool: Callable[..., Pool], named: Callable[..., Version]
) -> None:
    before = processes()
    pool = make_pool(spare=True)
    pool.warm()
    (spare,) = until(lambda: processes() - before)
    os.kill(spare, signal.SIGKILL)
    until(lambda: spare not in processes())

    server = pool.open(named("first"))
    server.wait_ready(60)

    assert server.pid != spare


def test_a_closed_pool_leaves_no_spare_child_and_opens_nothing_more(
    make_pool: Callable[..., Pool], named: Callable[..., Version]
) -> None:
    before = processes()
    pool = make_pool(spare=True)
    pool.open(named("first")).wait_ready(60)
    until(lambda: len(processes() - before) == 2)

    pool.close()

    assert processes() - before == set()
    with pytest.raises(ServerError, match="The app is stopping"):
        pool.open(named("second"))


# ---------------------------------------------------------------- started again


def test_what_dies_by_itself_is_started_again_once(quick: Pool, named: Callable[..., Version]) -> None:
    version = named("fragile")
    first = quick.open(version)
    first.wait_ready(60)
    os.kill(first.pid, signal.SIGKILL)

    (second,) = until(lambda: [server for server in quick.running() if server.pid != first.pid])
    second.wait_ready(60)
    assert second.ref == first.ref
    assert second.status().detail == "started again: Its process was killed (signal 9)."
    assert "was killed (signal 9)" in first.status().reason

    os.kill(second.pid, signal.SIGKILL)
    until(lambda: not second.alive())
    time.sleep(0.5)
    assert quick.running() == []
    assert [server.status().state for server in quick.servers()] == ["failed"]

    third = quick.open(version)
    third.wait_ready(60)
    assert ask(third) == " 0 1 2"


def test_a_death_long_after_the_last_one_is_a_first_one(
    make_pool: Callable[..., Pool], named: Callable[..., Version]
) -> None:
    pool = make_pool(rules={"again": 0.0})
    pool.open(named("fragile")).wait_ready(60)

    seen = set()
    for _ in range(3):
        (server,) = until(lambda: [one for one in pool.running() if one.pid not in seen])
        server.wait_ready(60)
        seen.add(server.pid)
        os.kill(server.pid, signal.SIGKILL)

    assert len(seen) == 3


def test_what_dies_while_it_loads_is_not_started_again(quick: Pool, named: Callable[..., Version]) -> None:
    server = quick.open(named("unlucky", fail=6))

    until(lambda: not server.alive())
    time.sleep(0.5)

    assert quick.running() == []


def test_what_was_closed_is_not_started_again(quick: Pool, named: Callable[..., Version]) -> None:
    server = quick.open(named("closed"))
    server.wait_ready(60)

    server.close()
    time.sleep(0.5)

    assert quick.running() == []
    assert server.status().reason == "It was closed."


# ---------------------------------------------------------------- idle


def test_what_nobody_uses_is_stopped_and_opens_again(
    make_pool: Callable[..., Pool], named: Callable[..., Version]
) -> None:
    pool = make_pool(idle_minutes=0.02)
    version = named("lonely")
    server = pool.open(version)
    server.wait_ready(60)

    until(lambda: pool.servers() == [], 10)

    assert not server.alive()
    assert server.status().reason == "It was stopped: nobody had used it for 0.02 minutes."
    again = pool.open(version)
    again.wait_ready(60)
    assert again.pid != server.pid


def test_what_answers_is_not_idle_however_long_it_takes(
    make_pool: Callable[..., Pool], named: Callable[..., Version]
) -> None:
    pool = make_pool(idle_minutes=0.01)
    version = named("slow", words=30, pause=0.1)
    server = pool.open(version)
    with server.hold():
        server.wait_ready(60)

    assert ask(server).endswith(" 29")
    until(lambda: pool.servers() == [], 10)


def test_what_somebody_uses_is_not_idle(make_pool: Callable[..., Pool], named: Callable[..., Version]) -> None:
    pool = make_pool(idle_minutes=0.01)
    server = pool.open(named("used"))

    with server.hold():
        server.wait_ready(60)
        time.sleep(1.5)
        assert pool.running() == [server]

    until(lambda: pool.running() == [], 10)


def test_an_answer_that_comes_late_does_not_undo_a_newer_one(
    pool: Pool, version: Version, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = pool.open(version)
    server.wait_ready(60)
    ask_health, slow, asked = handle.urllib.request.urlopen, threading.Event(), threading.Event()

    def late(*_: Any, **__: Any) -> io.BytesIO:
        asked.set()
        assert slow.wait(20)
        return io.BytesIO(b'{"status": "loading"}')

    monkeypatch.setattr(handle.urllib.request, "urlopen", late)
    first = threading.Thread(target=server.look, args=(20,))
    first.start()
    assert asked.wait(20)
    monkeypatch.setattr(handle.urllib.request, "urlopen", ask_health)
    server.look(20)
    slow.set()
    first.join()

    assert server.ready


def test_what_is_loading_is_not_idle(make_pool: Callable[..., Pool], named: Callable[..., Version]) -> None:
    pool = make_pool(idle_minutes=0.01)
    server = pool.open(named("slow", load_seconds=2))

    server.wait_ready(60)

    assert server.alive()


# ---------------------------------------------------------------- memory


class Machine:
    """Memory in which every model server of a pool takes 600 MB."""

    def __init__(self, megabytes: int) -> None:
        self.megabytes, self.pool = megabytes, None

    def available(self) -> int:
        assert self.pool is not None
        return (self.megabytes - 600 * len(self.pool.running())) * 1_000_000


@pytest.fixture
def machine(make_pool: Callable[..., Pool], monkeypatch: pytest.MonkeyPatch) -> Callable[[int], Pool]:
    monkeypatch.setattr(ModelServer, "memory", 600_000_000)

    def make(megabytes: int, **options: Any) -> Pool:
        machine = Machine(megabytes)
        machine.pool = make_pool(available=machine.available, **options)
        return machine.pool

    return make


def test_the_least_recently_used_goes_where_memory_is_short(
    machine: Callable[..., Pool], named: Callable[..., Version]
) -> None:
    pool = machine(1300)
    versions = [named(name) for name in ("a", "b", "c")]
    first = pool.open(versions[0])
    first.wait_ready(60)
    second = pool.open(versions[1])
    second.wait_ready(60)
    pool.open(versions[0])  # used again, so that b is the one that waits longest

    third = pool.open(versions[2])
    third.wait_ready(60)

    assert pool.running() == [first, third]
    assert second.status().reason == ("It was stopped to make room for c/1. It starts again when it is opened.")


def test_nothing_is_stopped_while_there_is_room(machine: Callable[..., Pool], named: Callable[..., Version]) -> None:
    pool = machine(2500)
    for name in ("a", "b", "c"):
        pool.open(named(name)).wait_ready(60)

    assert len(pool.running()) == 3


def test_a_version_that_this_machine_can_not_hold_starts_nothing(
    machine: Callable[..., Pool], named: Callable[..., Version]
) -> None:
    pool = machine(700)
    pool.open(named("small")).wait_ready(60)

    with pytest.raises(ServerError) as caught:
        pool.open(named("huge", size=7_200_000_000))

    assert str(caught.value) == (
        "huge/1 needs about 7.7 GB of memory, and 100 MB are free on this machine. "
        "End other programs, or open a smaller version."
    )
    assert [server.ref for server in pool.running()] == ["small/1"], "stopped in vain"


def test_nothing_is_stopped_for_a_version_that_what_it_gave_back_would_not_hold(
    machine: Callable[..., Pool], named: Callable[..., Version], monkeypatch: pytest.MonkeyPatch
) -> None:
    pool = machine(700)
    small = pool.open(named("small"))
    small.wait_ready(60)
    monkeypatch.setattr(ModelServer, "memory", 100_000_000)  # it takes less than was guessed

    with pytest.raises(ServerError, match="needs about 500 MB of memory, and 100 MB are free on this machine"):
        pool.open(named("other"))

    assert small.alive()


def test_who_answers_is_not_stopped_for_its_memory(machine: Callable[..., Pool], named: Callable[..., Version]) -> None:
    pool = machine(700)
    server = pool.open(named("talker", words=20, pause=0.1))
    server.wait_ready(60)
    said: list[str] = []
    asking = threading.Thread(target=lambda: said.append(ask(server)))
    asking.start()
    until(lambda: server.status().state == "busy")

    with pytest.raises(Busy) as caught:
        pool.open(named("other"))

    assert str(caught.value) == (
        "other/1 needs about 500 MB of memory, and 100 MB are free: talker/1 is in use. "
        "Try again when its answers have ended."
    )
    asking.join()
    assert said[0].endswith(" 19")
    pool.open(named("another")).wait_ready(60)
    assert [server.ref for server in pool.running()] == ["another/1"]


def test_who_is_in_use_or_loading_or_just_opened_is_not_stopped_for_its_memory(
    machine: Callable[..., Pool], named: Callable[..., Version], tmp_path: Path
) -> None:
    pool = machine(700, rules={"grace": 2.0})
    loading = pool.open(named("loading", hold=True))
    with pytest.raises(Busy):
        pool.open(named("other"))
    (tmp_path / "loading" / "go").touch()
    loading.wait_ready(60)

    with pytest.raises(Busy):
        pool.open(registry_version(pool, "other"))
    with loading.hold():
        time.sleep(2.5)
        with pytest.raises(Busy):
            pool.open(registry_version(pool, "other"))
    time.sleep(2.5)

    pool.open(registry_version(pool, "other")).wait_ready(60)
    assert not loading.alive()


def registry_version(pool: Pool, name: str) -> Version:
    return reader.get_version(pool._settings, f"{name}/1")


def test_two_that_are_opened_at_once_do_not_count_on_the_same_memory(
    make_pool: Callable[..., Pool], named: Callable[..., Version]
) -> None:
    pool = make_pool(available=lambda: 900_000_000)  # what loads has taken nothing yet
    pool.open(named("a", hold=True))

    with pytest.raises(Busy, match="b/1 needs about 500 MB of memory"):
        pool.open(named("b"))


def test_the_size_of_files_that_are_elsewhere_is_their_tag(machine: Callable[..., Pool], settings: Settings) -> None:
    pool = machine(5000)
    register(settings, "far", source="s3://bucket/model", tags={tags.SIZE: "9000000000", tags.WRAPPER: "onnx"})

    with pytest.raises(ServerError, match=r"far/1 needs about 9.2 GB of memory, and 5.0 GB are free"):
        pool.open(reader.get_version(settings, "far/1"))
