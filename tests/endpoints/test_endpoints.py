"""Endpoints elsewhere: their file, a real `mlflow models serve`, stand-ins for managed services, a server of ours."""

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
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest

from phi3core.endpoints.client import Answer, check_endpoint, invoke_endpoint
from phi3core.endpoints.config import Endpoint, find_endpoint, load_endpoints
from phi3core.errors import BadInput, Busy, Cancelled, NotFound, Phi3Error, ServerError
from phi3core.settings import Settings
from tests.support import third_party
from tests.support.fakes import FakeEngine, until
from tests.support.serving import client_of, serving, wait_loaded

KEY = "a-very-secret-key"
HELLO = [{"role": "user", "content": "hello"}]
TALK = [{"role": "system", "content": "Be brief."}, *HELLO]


def ask(endpoint: Endpoint, messages: list[dict[str, str]] = HELLO, **options: Any) -> Answer:
    return invoke_endpoint(endpoint, messages, options, lambda cut: None)


# ---------------------------------------------------------------- the file


@pytest.fixture
def write(tmp_path: Path) -> Callable[[str], Settings]:
    """Settings whose secrets file holds this text."""

    def to(text: str) -> Settings:
        file = tmp_path / "secrets.toml"
        file.write_text(text)
        return Settings(home=tmp_path, tracking_uri="", cache=tmp_path, secrets=file)

    return to


def test_without_a_file_there_are_no_endpoints(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path, tracking_uri="", cache=tmp_path, secrets=tmp_path / "none.toml")

    assert load_endpoints(settings) == []


def test_endpoints_are_read_beside_other_secrets(
    write: Callable[[str], Settings], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TEST_ENDPOINT_KEY", KEY)
    settings = write("""
        password = "of something else"
        [endpoints.gpt]
        kind = "openai"
        url = "https://example.com/v1/"
        model = "small"
        key_env = "TEST_ENDPOINT_KEY"
        [endpoints."phi in azure"]
        kind = "mlflow"
        url = "https://phi.westeurope.inference.ml.azure.com/score"
        dialect = "azureml"
        task = "prompt"
        column = "question"
        key = "typed"
    """)

    gpt, azure = load_endpoints(settings)

    assert gpt == Endpoint("gpt", "openai", "https://example.com/v1", model="small", key=KEY)
    assert (azure.name, azure.ref, azure.task, azure.key) == (
        "phi in azure",
        "endpoint:phi in azure",
        "prompt",
        "typed",
    )
    assert find_endpoint(settings, "endpoint:gpt") == find_endpoint(settings, "gpt") == gpt
    with pytest.raises(NotFound, match="“other”"):
        find_endpoint(settings, "endpoint:other")


def test_an_endpoint_never_shows_its_key() -> None:
    assert KEY not in repr(Endpoint("a", "openai", "https://example.com/v1", key=KEY))


TABLE = '[endpoints.a]\nkind = "mlflow"\nurl = "https://example.com/invocations"\n'


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[endpoints", "not written as TOML"),
        ("endpoints = 3", "must be tables"),
        ("[endpoints]\na = 3", r"\[endpoints.a\]: write a table"),
        ('[endpoints.a]\nurl = "https://example.com/x"', r"\[endpoints.a\]: “kind” is missing"),
        ('[endpoints.a]\nkind = "mlflow"', "“url” is missing"),
        (TABLE + 'colour = "red"', "“colour” means nothing here. Known are"),
        (TABLE + "task = 3", "“task” must be text in quotes"),
        (TABLE + 'insecure = "yes"', "“insecure” must be true or false"),
        (TABLE + 'task = "talk"', "“task” is “talk”; it must be chat or prompt"),
        (TABLE + 'dialect = "aws"', "must be mlflow or azureml or databricks"),
        (TABLE + f'key = "{KEY}"\nkey_env = "X"', "“key” or “key_env”, not both"),
        (TABLE + "key = 3", "must be text in quotes"),
        (TABLE + 'key_env = "NOT_SET_ANYWHERE"', "NOT_SET_ANYWHERE, which is not set"),
        (TABLE + f'key = "{KEY}\\nX-Other: header"', "a letter that no key can hold"),
        (TABLE + f'key = "{KEY}…"', "a letter that no key can hold"),
        (TABLE.replace("https://example.com/invocations", "example.com/invocations"), "must be a whole address"),
        (TABLE.replace("example.com", f"me:{KEY}@example.com"), "holds a user or a password"),
        (TABLE.replace("/invocations", ""), "“url” has no path"),
        (TABLE.replace("mlflow", "openai").replace("/invocations", ""), "ends in /v1"),
        (TABLE.replace("mlflow", "openai").replace("invocations", "v1/chat/completions"), "the base address"),
        (TABLE.replace("mlflow", "openai").replace("invocations", "v1"), "“model” is missing"),
        (TABLE.replace("https", "http") + f'key = "{KEY}"', "without encryption"),
    ],
)
def test_what_is_wrong_in_the_file_is_named_and_no_key_told(
    write: Callable[[str], Settings], text: str, told: str
) -> None:
    with pytest.raises(BadInput, match=told) as caught:
        load_endpoints(write(text))

    assert "secrets.toml" in str(caught.value)
    assert KEY not in str(caught.value)


@pytest.mark.parametrize(
    ("host", "more"), [("localhost", ""), ("127.0.0.2", ""), ("[::1]:8000", ""), ("10.0.0.7", "insecure = true\n")]
)
def test_a_key_goes_unencrypted_only_to_this_machine_or_where_it_is_said(
    write: Callable[[str], Settings], host: str, more: str
) -> None:
    text = TABLE.replace("https://example.com", f"http://{host}") + f'key = "{KEY}"\n' + more

    (endpoint,) = load_endpoints(write(text))

    assert endpoint.key == KEY


# ---------------------------------------------------------------- mlflow models serve


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

    assert answer == Answer("hello", "length", 7, 1)


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


def test_a_call_that_is_cut_before_it_begins_is_never_sent(service: Service) -> None:
    with pytest.raises(Cancelled):
        invoke_endpoint(service.endpoint(), HELLO, {}, lambda cut: cut())

    assert service.requests == []


# ---------------------------------------------------------------- stand-ins for the managed services


class Service:
    """A server that answers what it is told to, and keeps what it was asked."""

    def __init__(self) -> None:
        self.status, self.answer, self.headers = 200, b'"fine"', {"Content-Type": "application/json"}
        self.requests: list[tuple[str, dict[str, str], Any]] = []
        service = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                service.requests.append((self.path, dict(self.headers), json.loads(body)))
                self._answer()

            def do_GET(self) -> None:
                service.requests.append((self.path, dict(self.headers), None))
                self._answer()

            def _answer(self) -> None:
                self.send_response(service.status)
                for name, value in {**service.headers, "Content-Length": str(len(service.answer))}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(service.answer)

            def log_message(self, *_: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def says(self, answer: Any, status: int = 200, **headers: str) -> Service:
        self.answer = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
        self.status, self.headers = status, {"Content-Type": "application/json", **headers}
        return self

    def endpoint(self, **changes: Any) -> Endpoint:
        return replace(Endpoint("far", "mlflow", f"{self.url}/score", key=KEY), **changes)

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def service() -> Iterator[Service]:
    made = Service()
    yield made
    made.close()


COMPLETION = {
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "Hi."}, "finish_reason": "length"}],
    "usage": {"prompt_tokens": 9, "completion_tokens": 3, "total_tokens": 12},
}


def test_azure_ml_gets_a_conversation_as_a_table_under_input_data(service: Service) -> None:
    service.says([COMPLETION])

    answer = ask(service.endpoint(dialect="azureml"), TALK, temperature=0.5, top_p=None)

    ((path, headers, body),) = service.requests
    assert path == "/score"
    assert headers["Authorization"] == f"Bearer {KEY}"
    assert body == {"input_data": {"columns": ["messages", "temperature"], "index": [0], "data": [[TALK, 0.5]]}}
    assert answer == Answer("Hi.", "length", 9, 3)


def test_azure_ml_gets_a_text_with_parameters(service: Service) -> None:
    service.says(["Hi."])

    answer = ask(service.endpoint(dialect="azureml", task="prompt"), max_tokens=5)

    table = {"columns": ["prompt"], "index": [0], "data": [["hello"]]}
    assert service.requests[0][2] == {"input_data": table, "params": {"max_tokens": 5}}
    assert answer == Answer("Hi.", "stop", 0, 0)


def test_databricks_gets_messages_as_they_are_and_a_text_as_a_table(service: Service) -> None:
    service.says(COMPLETION)
    databricks = service.endpoint(url=f"{service.url}/serving-endpoints/phi/invocations", dialect="databricks")

    assert ask(databricks, TALK, max_tokens=5).text == "Hi."
    service.says({"predictions": ["Ho."]})
    assert ask(replace(databricks, task="prompt", column="question")).text == "Ho."

    (path, _, chat), (_, _, prompt) = service.requests
    assert path == "/serving-endpoints/phi/invocations"
    assert chat == {"messages": TALK, "max_tokens": 5}
    assert prompt == {"dataframe_split": {"columns": ["question"], "index": [0], "data": [["hello"]]}}


@pytest.mark.parametrize(
    "answer", ["Hi.", ["Hi."], COMPLETION, [COMPLETION], {"predictions": COMPLETION}, {"predictions": [{"0": "Hi."}]}]
)
def test_every_shape_of_an_answer_is_read(service: Service, answer: Any) -> None:
    assert ask(service.says(answer).endpoint()).text == "Hi."


@pytest.mark.parametrize(
    ("status", "answer", "kind", "told"),
    [
        (401, {"message": "no"}, ServerError, r"refused the key \(401\). Check it in \[endpoints.far\]"),
        (403, b"", ServerError, r"refused the key \(403\)"),
        (404, b"<html>", ServerError, "has nothing at http.*Check its url"),
        (400, {"error_code": "BAD_REQUEST", "message": "no such column"}, BadInput, "“no such column”"),
        (422, {"detail": "odd"}, BadInput, "“odd”"),
        (424, {"error": {"message": "out of memory"}}, ServerError, "The model at far failed.*“out of memory”"),
        (429, {"error": "slow down"}, Busy, "“slow down”"),
        (500, {"message": "m", "stack_trace": "a\n  b\nE: y\n"}, ServerError, "The model at far failed.*“E: y”"),
        (502, b"Bad gateway", ServerError, "“Bad gateway”"),
        (504, b"", ServerError, "took longer than it allows"),
        (500, f"the key {KEY} is odd".encode(), ServerError, "“the key ••• is odd”"),
        (200, b"Welcome!", ServerError, "no JSON: “Welcome!”"),
        (200, [], ServerError, "far: The model gave 0 answers"),
        (200, {"predictions": [0.5]}, ServerError, "far: .*of type float"),
    ],
)
def test_whatever_goes_wrong_there_is_told_in_a_sentence_without_the_key(
    service: Service, status: int, answer: Any, kind: type[Phi3Error], told: str
) -> None:
    with pytest.raises(kind, match=told) as caught:
        ask(service.says(answer, status).endpoint())

    assert KEY not in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_missing_key_is_told(service: Service) -> None:
    with pytest.raises(ServerError, match="None was sent"):
        ask(service.says(b"", 401).endpoint(key=""))

    assert "Authorization" not in service.requests[0][1]


def test_a_redirect_does_not_take_the_key_along(service: Service) -> None:
    elsewhere = Service()
    try:
        service.says(b"", 307, Location=f"{elsewhere.url}/steal?token=abc")
        with pytest.raises(ServerError, match=r"redirects to 127.0.0.1, and the key is not sent on") as caught:
            ask(service.endpoint())
    finally:
        elsewhere.close()

    assert elsewhere.requests == []
    assert "abc" not in str(caught.value)


def test_nobody_there_is_told(service: Service) -> None:
    endpoint = service.endpoint()
    service.close()

    with pytest.raises(ServerError, match="far at 127.0.0.1:.* can't be reached: .*Check its url"):
        ask(endpoint)
    assert "can't be reached" in check_endpoint(replace(endpoint, kind="openai"))


def test_an_answer_that_breaks_off_is_told(service: Service) -> None:
    service.says(b"{", **{"Transfer-Encoding": "chunked"})

    with pytest.raises(ServerError, match="far at .* broke the answer off"):
        ask(service.endpoint())


def test_an_answer_that_does_not_come_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("phi3core.endpoints.client._ANSWER", 0.2)
    monkeypatch.setattr("phi3core.endpoints.client._CHECK", 0.2)
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        endpoint = Endpoint("far", "mlflow", f"http://127.0.0.1:{silent.getsockname()[1]}/invocations")

        with pytest.raises(ServerError, match="did not answer within 0.2 s"):
            ask(endpoint)
        assert "did not answer within 0.2 s" in check_endpoint(endpoint)


def test_the_managed_services_are_not_asked_for_nothing(service: Service) -> None:
    for dialect in ("azureml", "databricks"):
        assert check_endpoint(service.endpoint(dialect=dialect)) == ""

    assert service.requests == []


# ---------------------------------------------------------------- OpenAI's protocol


def test_a_second_server_of_ours_is_an_endpoint() -> None:
    with serving(FakeEngine, names=("phi3/1",), key=KEY) as url:
        wait_loaded(url)
        endpoint = Endpoint("ours", "openai", f"{url}/v1", model="phi3/1", key=KEY)

        assert check_endpoint(endpoint) == ""
        client = client_of(endpoint.url.removesuffix("/v1"), endpoint.key)
        said = client.chat.completions.create(model=endpoint.model, messages=HELLO)  # type: ignore[arg-type]
        assert said.choices[0].message.content == "Madrid is it."
        told = check_endpoint(replace(endpoint, key="wrong-key"))
        assert "refused the key" in told
        assert "wrong-key" not in told


def test_an_address_that_is_no_openai_server_is_told(service: Service) -> None:
    service.says({"detail": "Not Found"}, 404)

    assert "“Not Found”. Check its url" in check_endpoint(service.endpoint(kind="openai"))
