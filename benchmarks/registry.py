"""How fast the registry is with 10,000 versions, as ratios to what does the same in one run, and against limits.

    python -m benchmarks.registry [rows | search | record | pages]

Needs an idle machine; the pages need Chromium (PHI3_CHROMIUM). What runs against each other takes turns, and medians
are compared. The registry is filled the first time, which takes half a minute, and kept in the cache.
"""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

from phi3core.promotion.policy import requests
from phi3core.promotion.record import search as record_search
from phi3core.registry import reader
from phi3core.registry.index import Index
from phi3core.settings import Settings
from phi3core.store.client import mlflow_client

from . import browser, filled
from .tables import alternate, median, row

ROUNDS = 7
_ROOT = Path(__file__).resolve().parent.parent


def rows(config: Settings, server: str) -> None:
    """The data of 50 rows against one call per row."""
    remote = replace(config, tracking_uri=server)
    for where, store, limit in (("SQLite", config, 0.25), ("mlflow server", remote, 0.10)):
        times = alternate(
            {
                "rows": lambda store=store: timed(lambda: reader.search_models(store)),
                "calls": lambda store=store: calls(store),
            },
            ROUNDS if store is config else 3,
        )
        told = f"{times['rows'] * 1000:.0f} ms, {times['calls'] * 1000:.0f} ms"
        row(f"50 rows / one call per row, {where}", times["rows"] / times["calls"], limit, False, told)


def calls(config: Settings) -> float:
    """The same 50 rows by 101 calls: the list, then for each its version in Production and that one's run."""
    store, found = mlflow_client(config), []
    started = time.perf_counter()
    for model in store.search_registered_models(max_results=50, order_by=["last_updated_timestamp DESC", "name ASC"]):
        version = store.get_model_version_by_alias(model.name, "production")
        found.append((version, store.get_run(version.run_id).data.metrics))
    taken = time.perf_counter() - started
    assert [version.run_id for version, _ in found] == [
        line.version.run_id for line in reader.search_models(config).summaries if line.version
    ]
    return taken


def search(config: Settings) -> None:
    """A search over all versions, in memory; and what keeping them there takes."""
    index = Index(config)
    taken = timed(index.refresh)
    assert index.search().total == filled.MODELS * filled.VERSIONS
    worst, told = 0.0, []
    for what, run in (
        ("stage and text", lambda word: index.search(word, stage="Production")),
        ("text that all have, by a metric", lambda word: index.search(f"trained on {word}", sort="win_rate")),
        ("tag, owner and text", lambda word: index.search(word, tag="team=shore", owner="linus", sort="size")),
    ):
        # Another word each time: the index knows the answer to what it was asked before.
        milliseconds = median([timed(partial(run, word)) for word in filled.WORDS]) * 1000
        assert sum(run(word).total for word in filled.WORDS) > 0
        worst = max(worst, milliseconds)
        told.append(f"{what} {milliseconds:.0f}")
    row("a search over all 10,000 versions, milliseconds", worst, 300, False, ", ".join(told))
    again = timed(index.refresh)
    patch = timed(lambda: index.refresh_model(filled.BUSY))
    print(f"    reading them all: {taken:.1f} s the first time, {again:.1f} s again; one model {patch * 1000:.0f} ms")


def record(config: Settings) -> None:
    """One page of the record, and the requests that wait."""
    asked: dict[str, Callable[[], object]] = {
        "the latest": lambda: record_search.page(config, limit=50),
        "of a model": lambda: record_search.page(config, model=filled.BUSY, limit=50),
        "by user and text": lambda: record_search.page(config, user="bob", text="questions of stone", limit=50),
    }
    last = record_search.page(config, limit=50)
    for _ in range(20):
        last = record_search.page(config, limit=50, token=last.next)
    asked["the 21st"] = lambda: record_search.page(config, limit=50, token=last.next)
    worst, told = 0.0, []
    for what, run in asked.items():
        page = run()
        assert isinstance(page, record_search.Page)
        assert len(page.records) == 50, what
        assert all(one.intact for one in page.records), what
        milliseconds = median([timed(run) for _ in range(ROUNDS)]) * 1000
        worst = max(worst, milliseconds)
        told.append(f"{what} {milliseconds:.0f}")
    row("one page of a record of 10,000 promotions, milliseconds", worst, 300, False, ", ".join(told))
    first = timed(lambda: requests.waiting(config)) * 1000
    again = median([timed(lambda: requests.waiting(config)) for _ in range(ROUNDS)]) * 1000
    assert len(requests.waiting(config)) == filled.OPEN
    print(f"    {filled.OPEN} requests that wait beside {filled.ENDED:,} that have ended: {again:.0f} ms, ", end="")
    print(f"{first:.0f} ms at the start, where everything is read", flush=True)


def pages(config: Settings, server: str) -> None:
    """Click to content in Chromium."""
    with app(config) as url, browser.chromium() as open_browser:
        times = browser.warm(open_browser, url, server, filled.name_of(0), ROUNDS)
        told = f"{times['ours'] * 1000:.0f} ms, {times['mlflow'] * 1000:.0f} ms"
        row("click to content, warm / MLflow's own page", times["ours"] / times["mlflow"], 1.0, False, told)
        times = browser.cold(open_browser, url, ROUNDS)
        told = f"{times['registry'] * 1000:.0f} ms, {times['empty'] * 1000:.0f} ms"
        row("address to content, cold / an empty page", times["registry"] / times["empty"], 1.25, False, told)


def timed(run: Callable[[], object]) -> float:
    started = time.perf_counter()
    run()
    return time.perf_counter() - started


@contextlib.contextmanager
def mlflow_server(config: Settings) -> Iterator[str]:
    """MLflow's own server and pages on the same store, as `mlflow server` starts them: its address."""
    port = free_port()
    command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port)]
    command += ["--backend-store-uri", config.tracking_uri]
    with running(command, config.logs / "mlflow.log", f"http://127.0.0.1:{port}/health", _ROOT):
        yield f"http://127.0.0.1:{port}"


@contextlib.contextmanager
def app(config: Settings) -> Iterator[str]:
    """The real app with one page more that shows nothing: its address. Its registry has been read."""
    with tempfile.TemporaryDirectory() as name:
        folder, port = Path(name), free_port()
        for part in ("phi3core", "pages", "assets", ".streamlit"):
            (folder / part).symlink_to(_ROOT / part)
        (folder / "server.py").write_text((_ROOT / "server.py").read_text())
        table = (_ROOT / "app.py").read_text()
        first = 'st.Page("pages/home_page.py"'
        assert first in table, "app.py has changed: say where the empty page goes"
        empty = 'st.Page(lambda: st.caption("Nothing here"), title="Empty", url_path="empty"),\n        '
        (folder / "app.py").write_text(table.replace(first, empty + first))
        command = [sys.executable, "-m", "streamlit", "run", "server.py", f"--server.port={port}"]
        url = f"http://127.0.0.1:{port}"
        with running(command, config.logs / "app.log", f"{url}/_stcore/health", folder):
            yield url


@contextlib.contextmanager
def running(command: list[str], log: Path, health: str, folder: Path) -> Iterator[None]:
    environment = {**os.environ, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    with log.open("ab") as out:
        child = subprocess.Popen(command, cwd=folder, env=environment, stdout=out, stderr=out, start_new_session=True)
    deadline = time.monotonic() + 120
    try:
        while True:
            with contextlib.suppress(OSError), urllib.request.urlopen(health, timeout=2):
                break
            if time.monotonic() > deadline or child.poll() is not None:
                raise SystemExit(f"{command[2]} did not start: see {log}.")
            time.sleep(0.1)
        yield
    finally:
        child.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            child.wait(20)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def main() -> None:
    wanted = sys.argv[1:] or ["rows", "search", "record", "pages"]
    cache = Path(os.environ.get("PHI3_CACHE") or _ROOT / ".phi3" / "cache").resolve()
    config = filled.home(cache)
    print(f"{filled.MODELS:,} models × {filled.VERSIONS} versions, {filled.PROMOTIONS:,} promotions\n", flush=True)
    if "search" in wanted:
        search(config)
    if "record" in wanted:
        record(config)
    if {"rows", "pages"} & set(wanted):
        with mlflow_server(config) as server:
            if "rows" in wanted:
                rows(config, server)
            if "pages" in wanted:
                pages(config, server)


if __name__ == "__main__":
    main()
