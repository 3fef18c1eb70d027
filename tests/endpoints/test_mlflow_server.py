"""Endpoints that a real `mlflow models serve` answers."""

from __future__ import annotations

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
import pytest

from phi3core.endpoints.client import EndpointAnswer, check_endpoint, invoke_endpoint
from phi3core.endpoints.config import Endpoint
from phi3core.errors import BadInput, Cancelled, Phi3Error, ServerError
from tests.endpoints.service import TALK, ask
from tests.support import third_party
from tests.support.fakes import until


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """The scoring URLs of a chat model and a text model, each behind `mlflow models serve`, started side by side."""
    home = tmp_path_factory.mktemp("served")
    kinds = ("chat", "text")
    started = {kind: _serve(third_party.save(home / kind, kind)) for kind in kinds}
    try:
        for url, process in started.values():
            until(lambda url=url, process=process: _up(url, process), 120)  # type: ignore[misc]
        yield {kind: f"{url}/invocations" for kind, (url, _) in started.items()}
    finally:
        for _, process in started.values():
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def _serve(folder: Path) -> tuple[str, subprocess.Popen[bytes]]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "mlflow", "models", "serve", "-m", str(folder)]
    command += ["--env-manager", "local", "-h", "127.0.0.1", "-p", str(port)]
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    with (folder.parent / f"{folder.name}.log").open("wb") as log:
        process = subprocess.Popen(
            command, stdout=log, stderr=subprocess.STDOUT, cwd=folder.parent, env=environment, start_new_session=True
        )
    return f"http://127.0.0.1:{port}", process


def _up(url: str, process: subprocess.Popen[bytes]) -> bool:
    assert process.poll() is None, "mlflow models serve has ended"
    try:
        return httpx.get(f"{url}/ping", timeout=2).status_code == 200
    except httpx.HTTPError:
        return False


def test_mlflow_serves_a_conversation(served: dict[str, str]) -> None:
    endpoint = Endpoint("local", "mlflow", served["chat"])

    answer = ask(endpoint, TALK, temperature=0.5)

    assert answer.text == "hello 2 messages {'temperature': 0.5}"
    assert (answer.finish_reason, answer.prompt_tokens, answer.completion_tokens) == ("stop", 7, 2)
    assert check_endpoint(endpoint) == ""


def test_an_answer_that_reached_the_limit_says_so(served: dict[str, str]) -> None:
    answer = ask(Endpoint("local", "mlflow", served["chat"]), max_tokens=1)

    assert answer == EndpointAnswer("hello", "length", 7, 1)


def test_mlflow_serves_a_text_with_parameters(served: dict[str, str]) -> None:
    endpoint = Endpoint("local", "mlflow", served["text"], task="prompt", column="question")

    answer = ask(endpoint, temperature=0.25)

    assert answer.text.startswith("hello is a str with")
    assert "'temperature': 0.25" in answer.text


def test_a_text_endpoint_takes_no_conversation(served: dict[str, str]) -> None:
    with pytest.raises(BadInput, match="one text and no conversation"):
        ask(Endpoint("local", "mlflow", served["text"], task="prompt", column="question"), TALK)


def test_what_a_model_raised_behind_mlflow_is_told_without_its_traceback(served: dict[str, str]) -> None:
    with pytest.raises(ServerError, match="The model at local failed .*“RuntimeError: out of cheese”") as caught:
        ask(Endpoint("local", "mlflow", served["chat"]), [{"role": "user", "content": "raise"}])

    assert "File " not in str(caught.value)


def test_a_column_that_the_model_does_not_have_is_told(served: dict[str, str]) -> None:
    with pytest.raises(BadInput, match="missing inputs.*question"):
        ask(Endpoint("local", "mlflow", served["text"], task="prompt"))


def test_a_call_is_cut_from_another_thread(served: dict[str, str]) -> None:
    endpoint, cuts, ended = Endpoint("local", "mlflow", served["chat"]), list[Callable[[], None]](), list[Any]()

    def work() -> None:
        try:
            invoke_endpoint(endpoint, [{"role": "user", "content": "slow"}], {}, cuts.append)
        except Phi3Error as error:
            ended.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    time.sleep(0.5)  # it is waiting for an answer that takes a minute
    assert not ended
    cuts[0]()
    thread.join(5)

    assert isinstance(ended[0], Cancelled)
