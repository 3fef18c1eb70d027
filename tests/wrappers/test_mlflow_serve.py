"""Both wrappers' models behind `mlflow models serve`: one from the registry, the other from a packaged folder."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from phi3core.packaging.package import write_package
from tests.conftest import MODEL, Built
from tests.support.fakes import until
from tests.wrappers.requests import CHATML, GREEDY, QUESTION

pytestmark = pytest.mark.model


@dataclass
class Served:
    """A running `mlflow models serve`."""

    url: str
    log: Path
    process: subprocess.Popen[bytes]

    def invoke(self, body: dict[str, Any]) -> Any:
        request = urllib.request.Request(
            f"{self.url}/invocations", json.dumps(body).encode(), {"Content-Type": "application/json"}
        )
        with urllib.request.urlopen(request, timeout=120) as answer:
            return json.load(answer)

    def up(self) -> bool:
        assert self.process.poll() is None, self.log.read_text()
        try:
            with urllib.request.urlopen(f"{self.url}/ping", timeout=2) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False


@pytest.fixture(scope="module")
def served(built_once: Built, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[int, Served]]:
    """Version 1 and version 2, each behind `mlflow models serve`, started side by side."""
    logs = tmp_path_factory.mktemp("served")
    packaged = write_package(built_once.settings, f"{MODEL}/2", "azureml", logs / "package")
    uris = {1: f"models:/{MODEL}/1", 2: str(packaged / "model")}
    running = {number: _serve(built_once, uri, logs / f"{number}.log") for number, uri in uris.items()}
    try:
        for server in running.values():
            until(server.up, 120)
        yield running
    finally:
        for server in running.values():
            with contextlib.suppress(ProcessLookupError):
                os.killpg(server.process.pid, signal.SIGKILL)
            server.process.wait()


def _serve(built: Built, uri: str, log: Path) -> Served:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "mlflow", "models", "serve", "-m", uri]
    command += ["--env-manager", "local", "-h", "127.0.0.1", "-p", str(port)]
    with log.open("wb") as file:
        process = subprocess.Popen(
            command,
            stdout=file,
            stderr=subprocess.STDOUT,
            cwd=log.parent,
            env={
                **{name: value for name, value in os.environ.items() if not name.startswith("MLFLOW_")},
                "MLFLOW_TRACKING_URI": built.settings.tracking_uri,
                "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            },
            start_new_session=True,
        )
    return Served(f"http://127.0.0.1:{port}", log, process)


def test_mlflow_serves_the_pipeline_with_the_cookbooks_request(served: dict[int, Served]) -> None:
    response = served[1].invoke({**QUESTION, "max_tokens": 16})

    assert response[0]["choices"][0]["message"]["content"].strip()
    assert 0 < response[0]["usage"]["completion_tokens"] <= 16


@pytest.mark.parametrize(
    "body",
    [
        {"inputs": {"prompt": CHATML}},
        {"inputs": {"prompt": [CHATML]}},
        {"dataframe_split": {"columns": ["prompt"], "data": [[CHATML]]}},
    ],
    ids=["string", "list", "table"],
)
def test_mlflow_serves_the_onnx_version_with_the_cookbooks_request(
    served: dict[int, Served], body: dict[str, Any]
) -> None:
    response = served[2].invoke({**body, "params": GREEDY})

    (answer,) = response["predictions"]
    assert "Madrid" in answer


def test_mlflow_tells_why_a_prompt_was_refused(served: dict[int, Served]) -> None:
    with pytest.raises(urllib.error.HTTPError) as caught:
        served[2].invoke({"inputs": {"prompt": ""}})

    assert caught.value.code >= 400
    assert "The prompt is empty" in caught.value.read().decode()
