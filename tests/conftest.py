"""Fixtures that more than one file needs. A fresh, empty home costs milliseconds; a real build is made once."""

from __future__ import annotations

import contextlib
import gc
import json
import os
import shutil
import sqlite3
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from xdist.scheduler import LoadFileScheduling

import phi3core.settings
from phi3core.settings import Settings, load_settings
from tests.support import sqlite
from tests.support import tiny as tiny_model
from tests.support.heap import heap_collected_once, heap_set_aside  # noqa: F401 (fixtures)
from tests.support.shared import once
from tests.support.stores import fresh, http_server, postgres_server, s3_server, store  # noqa: F401 (fixtures)

# Several processes share the cores here. Two computing threads of each would wait for each other actively and take the
# cores from everybody: the whole suite takes twice as long. Set before PyTorch is loaded, for it reads it only then.
os.environ.setdefault("OMP_NUM_THREADS", "1")

gc.disable()  # until all tests are imported: none of it is garbage

ROOT = Path(__file__).resolve().parent.parent
MODEL = "phi3-embedded"
_LONG = (
    "tests/races",
    "tests/faults",
    "tests/serving",
    "tests/cli",
    "tests/build",
    "tests/engine",
    "tests/app",
)


class _Schedule(LoadFileScheduling):
    """A file at a time to each process, in the order of `pytest_collection_modifyitems`; the journeys as one file.

    They share an app and a Chromium.
    """

    def _split_scope(self, nodeid: str) -> str:
        return "tests/e2e" if nodeid.startswith("tests/e2e/") else super()._split_scope(nodeid)


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> LoadFileScheduling:
    config.option.loadscopereorder = False
    return _Schedule(config, log)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The journeys come first, then the longest files. Within a file, what needs the model waits until it is built."""

    def place(item: pytest.Item) -> tuple[bool, int, str, bool]:
        path = item.path.relative_to(ROOT).as_posix()
        length = next((number for number, part in enumerate(_LONG) if path.startswith(part)), len(_LONG))
        return "browser" not in item.keywords, length, path, "model" in item.keywords

    items.sort(key=place)


@pytest.fixture(autouse=True)
def _own_main_module() -> Iterator[None]:
    """AppTest leaves a page as ``__main__``, which every process that multiprocessing starts would run again."""
    before = sys.modules["__main__"]
    yield
    sys.modules["__main__"] = before


@pytest.fixture(autouse=True)
def _own_environment() -> Iterator[None]:
    """What a test lets MLflow know by environment is not for the next one."""
    before = {name: value for name, value in os.environ.items() if name.startswith(("MLFLOW_", "PHI3_"))}
    yield
    for name in [name for name in os.environ if name.startswith(("MLFLOW_", "PHI3_"))]:
        if name not in before:
            del os.environ[name]
    os.environ.update(before)


@pytest.fixture(scope="session")
def cache() -> Path:
    """Prepared weights, kept from one run of the tests to the next: the embedded model is prepared once a checkout."""
    folder = Path(os.environ.get("PHI3_TEST_CACHE") or ROOT / ".phi3" / "test-cache").resolve()
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@pytest.fixture(scope="session")
def shared(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Path:
    """A folder of this run of the tests, the same in each of its processes."""
    folder = _shared(tmp_path_factory, worker_id)
    folder.mkdir(exist_ok=True)
    return folder


@pytest.fixture(scope="session")
def empty_store(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An SQLite store with all its tables and nothing in it, to copy from: making one takes seconds."""
    import mlflow

    sqlite.make_quick()

    def make(path: Path) -> None:
        folder = tmp_path_factory.mktemp("store")
        with pytest.MonkeyPatch.context() as patch:
            patch.chdir(folder)
            mlflow.MlflowClient(f"sqlite:///{folder / 'made.db'}").search_experiments(max_results=1)
        with sqlite3.connect(folder / "made.db") as database:
            database.execute("VACUUM INTO ?", (str(path),))

    return once(shared / "empty.db", make)


@contextlib.contextmanager
def home_of_its_own(home: Path, cache: Path, empty_store: Path) -> Iterator[Settings]:
    """The settings of a new home with an empty store, which is the current one meanwhile."""
    home.mkdir()
    shutil.copy(empty_store, home / "mlflow.db")
    with pytest.MonkeyPatch.context() as patch:
        _enter(patch, home, cache)
        yield load_settings()
        _forget()


@pytest.fixture
def settings(tmp_path: Path, cache: Path, empty_store: Path) -> Iterator[Settings]:
    """The settings of a home of its own, with an empty store."""
    with home_of_its_own(tmp_path / "home", cache, empty_store) as settings:
        yield settings


@pytest.fixture(scope="session")
def tiny_once(shared: Path) -> Path:
    return once(shared / "tiny" / "tiny-phi3", tiny_model.make)


@pytest.fixture(scope="session")
def tiny_onnx(tiny_once: Path, shared: Path) -> Path:
    """The tiny model converted to ONNX, unrounded. Don't write into it."""
    from phi3core.build import convert
    from phi3core.build.sources.fetch import fetch_weights
    from phi3core.build.sources.source import parse_source

    folder = shared / "tiny-onnx"  # the first process converts, the others find it
    folder.mkdir(exist_ok=True)
    weights = fetch_weights(parse_source(str(tiny_once)), folder, lambda share, text: None)
    return convert.convert_to_onnx(weights, "fp32", folder, folder / "log", lambda share, text: None)


@pytest.fixture
def tiny(tiny_once: Path, tmp_path: Path) -> Path:
    """A tiny random Phi-3 folder of one's own, to damage at will."""
    return shutil.copytree(tiny_once, tmp_path / "tiny-phi3")


@dataclass(frozen=True)
class Built:
    """A home where the embedded model was really built, and the run of each version."""

    settings: Settings
    runs: dict[int, str]

    @property
    def transformers(self) -> str:
        return f"models:/{MODEL}/1"

    @property
    def onnx(self) -> str:
        return f"models:/{MODEL}/2"

    @property
    def chat(self) -> str:
        return f"models:/{MODEL}/3"


@pytest.fixture(scope="session")
def built_once(
    shared: Path, tmp_path_factory: pytest.TempPathFactory, cache: Path, empty_store: Path
) -> Iterator[Built]:
    """Version 1: transformers. 2: onnx, prompt → string. 3: onnx, messages → chat completion.

    Each process of the tests has a home of its own, whose store points at the same files.
    """

    def make(home: Path) -> None:
        (home / "runs.json").write_text(json.dumps(_build(home, cache, empty_store)))

    made = once(shared / "built", make)
    runs = json.loads((made / "runs.json").read_text())
    home = tmp_path_factory.mktemp("built") / "home"
    shutil.copytree(made, home, ignore=shutil.ignore_patterns("artifacts"))
    with pytest.MonkeyPatch.context() as patch:
        _enter(patch, home, cache)
        config = load_settings()
        _forget()
    yield Built(config, {int(number): run_id for number, run_id in runs.items()})
    shutil.rmtree(home, ignore_errors=True)


def _shared(factory: pytest.TempPathFactory, worker: str) -> Path:
    """A folder of this run of the tests, the same in each of its processes."""
    own = factory.getbasetemp()
    return (own if worker == "master" else own.parent) / "shared"


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Gigabytes are not kept for the next run: the process that started the others removes them."""
    if "PYTEST_XDIST_WORKER" not in os.environ and (factory := getattr(session.config, "_tmp_path_factory", None)):
        shutil.rmtree(_shared(factory, "master"), ignore_errors=True)


def _build(home: Path, cache: Path, empty_store: Path) -> dict[int, str]:
    """The run of each version, built in a new home."""
    from phi3core.build import job_files, jobs
    from phi3core.build.spec import BuildSpec

    home.mkdir()
    shutil.copy(empty_store, home / "mlflow.db")
    runs = {}
    with pytest.MonkeyPatch.context() as patch:
        _enter(patch, home, cache)
        config = load_settings()
        for number, spec in enumerate(
            (BuildSpec("transformers"), BuildSpec("onnx"), BuildSpec("onnx", signature="chat")), start=1
        ):
            run_id = jobs.start(config, spec)
            job = list(jobs.follow(config, run_id))[-1]
            assert job.status == "FINISHED", f"{job.reason}\n{job_files.log_path(config, run_id).read_text()[-3000:]}"
            runs[number] = run_id
        _forget()
    return runs


@pytest.fixture
def built(built_once: Built, monkeypatch: pytest.MonkeyPatch) -> Iterator[Built]:
    """The home with the real versions, made the current one. Promote nothing in it: other tests share it."""
    _enter(monkeypatch, built_once.settings.home, built_once.settings.cache)
    load_settings()
    _use(built_once.settings)
    yield built_once
    _forget()


def _enter(patch: pytest.MonkeyPatch, home: Path, cache: Path) -> None:
    """Point the environment at a home. Every variable that load_settings() may write is put back afterwards."""
    for name in (
        "MLFLOW_TRACKING_URI",
        "MLFLOW_REGISTRY_URI",
        "MLFLOW_RUN_ID",
        "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT",
        *phi3core.settings._STORE_PATIENCE,
    ):
        patch.setenv(name, "")  # so that undoing knows the variable even where it was not set
        patch.delenv(name)
    patch.setenv("PHI3_HOME", str(home))
    patch.setenv("PHI3_CACHE", str(cache))
    patch.setenv("PHI3_SECRETS", str(home.parent / "secrets.toml"))  # nobody's own login and roles
    for name in ("PHI3_USER", "PHI3_API_KEY", "PHI3_HOSTS", "PHI3_ORIGINS"):
        patch.delenv(name, raising=False)


def _use(settings: Settings) -> None:
    import mlflow

    mlflow.set_tracking_uri(settings.tracking_uri)
    mlflow.set_registry_uri(settings.tracking_uri)


def _forget() -> None:
    """MLflow's global addresses outlive a test."""
    import mlflow

    mlflow.set_tracking_uri(None)
    mlflow.set_registry_uri(None)
