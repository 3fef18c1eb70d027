"""Opening versions: one process for each, shared by what asks for it, another one where it has failed."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from phi3core import tags
from phi3core.cell import cell
from phi3core.errors import NotFound, ServerError
from phi3core.registry import artifacts
from phi3core.registry.models import Version
from phi3core.serving.pool import Pool
from phi3core.serving.spawn import Child
from phi3core.settings import Settings
from tests.support import children
from tests.support.fake_child import Children
from tests.support.fakes import until


def test_opening_twice_gives_the_same_process(pool: Pool, named: Callable[..., Version]) -> None:
    version = named("tiny")

    assert pool.open(version) is pool.open(version)
    assert len(pool.running()) == 1


def test_opening_returns_before_the_model_has_loaded(
    pool: Pool, named: Callable[..., Version], started: Children
) -> None:
    started.loading = True
    server = pool.open(named("tiny"))

    assert server.status().state == "loading"
    started[0].port = None
    assert server.status().state == "starting"


def test_two_versions_have_a_process_each(pool: Pool, named: Callable[..., Version]) -> None:
    servers = [pool.open(named("tiny")), pool.open(named("tiny", number=2))]

    for server in servers:
        server.wait_ready()

    assert servers[0].pid != servers[1].pid
    assert servers[0].url != servers[1].url
    assert pool.running() == servers


def test_what_is_served_is_told_to_the_child(
    pool: Pool, named: Callable[..., Version], started: Children, tmp_path: Path
) -> None:
    server = pool.open(named("tiny"))

    assert started[0].order == {
        "ref": "tiny/1",
        "names": ["tiny/1"],
        "artifact": str(tmp_path / "tiny-1"),
        "trusted": False,
        "code": False,
        "parallel": 8,
        "queue": 32,
        "strict": False,
        "log": str(server.log),
        "local": True,
        "network": False,
        "cell": {"network": False, "memory": 5_500_000_000, "file_size": 1_000_000_000}
        if not cell.why_none()
        else None,
    }


def test_code_has_a_limit_of_memory_and_what_is_opened_on_its_weights_none_whatever_their_tags_say(
    make_pool: Callable[..., Pool],
    named: Callable[..., Version],
    started: Children,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(cell, "why_none", lambda: "")
    pool = make_pool(approve=lambda *_: True)
    ours, code = named("ours"), replace(named("code"), tags={tags.WRAPPER: "onnx", tags.SIZE: "9000000000"})
    library, broken = replace(named("library"), tags={tags.WRAPPER: "onnx"}), named("broken")
    for name in ("ours", "library"):
        (tmp_path / f"{name}-1" / "MLmodel").write_text("metadata: {phi3: {wrapper: onnx}}")
    (tmp_path / "library-1" / "genai_config.json").write_text('{"custom_ops_library": "x.so"}')
    (tmp_path / "code-1" / "MLmodel").write_text("flavors: {python_function: {loader_module: x}}")

    for version in (ours, code, library, broken):
        pool.open(version)

    limits = [child.order["cell"]["memory"] // 100_000_000 for child in started]
    assert limits == [0, 55, 55, 55]


def test_a_version_whose_files_are_gone_starts_nothing(settings: Settings, tmp_path: Path) -> None:
    version = children.register(settings, children.make(tmp_path / "lost"))
    shutil.rmtree(tmp_path / "lost")
    pool = Pool(settings)

    with pytest.raises(NotFound, match="The files of lost/1 are gone"):
        pool.open(version)

    assert pool.running() == []


def test_a_version_that_was_repaired_opens_again(pool: Pool, named: Callable[..., Version], started: Children) -> None:
    version = named("tiny")
    server = pool.open(version)
    started[0].status, started[0].error = "failed", "The model can't be loaded: damaged."
    with pytest.raises(ServerError, match="tiny/1 could not start. The model can't be loaded: damaged"):
        server.wait_ready()

    again = pool.open(version)
    again.wait_ready()

    assert again.status().state == "ready"
    assert again.pid != server.pid
    assert pool.running() == [again]


def test_a_version_that_opens_slowly_holds_up_no_other(
    pool: Pool, named: Callable[..., Version], monkeypatch: pytest.MonkeyPatch
) -> None:
    version, other = named("tiny"), named("tiny", number=2)
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


def test_two_that_open_the_same_version_at_once_share_its_process(pool: Pool, named: Callable[..., Version]) -> None:
    version, opened = named("tiny"), []
    threads = [threading.Thread(target=lambda: opened.append(pool.open(version))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)

    assert len({server.pid for server in opened}) == 1
    assert len(opened) == 4


def test_a_version_made_anew_under_the_same_number_has_another_process(
    pool: Pool, named: Callable[..., Version]
) -> None:
    version, again = named("tiny"), named("tiny", folder="anew")
    assert again.ref == version.ref
    first = pool.open(version)

    second = pool.open(again)

    assert second.pid != first.pid
    assert not first.alive()
    assert pool.running() == [second]
    assert pool.open(again) is second


def test_a_process_that_can_not_be_started_is_told(
    make_pool: Callable[..., Pool], named: Callable[..., Version]
) -> None:
    pool = make_pool(spare=True, start_child=partial(Child, command=("/there/is/no/such/program",)))
    for name in ("one", "two"):
        with pytest.raises(ServerError, match="A model server can't be started: .*no/such/program"):
            pool.open(named(name))
        pool.tend()

    assert pool.servers() == []


def test_a_closed_pool_ends_every_process_and_opens_nothing_more(
    make_pool: Callable[..., Pool], named: Callable[..., Version], started: Children
) -> None:
    pool = make_pool(spare=True)
    server = pool.open(named("first"))
    server.wait_ready()
    pool.tend()
    assert len(started.alive) == 2

    pool.close()

    assert started.alive == []
    assert server.status().state == "failed"
    with pytest.raises(ServerError, match="The app is stopping"):
        pool.open(named("second"))
