"""What goes wrong at an endpoint is told in a sentence, and its key never is."""

from __future__ import annotations

import socket
from dataclasses import replace
from typing import Any

import pytest

from phi3core.endpoints.client import check_endpoint, invoke_endpoint
from phi3core.endpoints.config import Endpoint
from phi3core.errors import BadInput, Busy, Cancelled, Phi3Error, ServerError
from tests.endpoints.service import HELLO, KEY, Service, ask


@pytest.mark.parametrize(
    ("status", "answer", "kind", "sentence"),
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
    service: Service, status: int, answer: Any, kind: type[Phi3Error], sentence: str
) -> None:
    with pytest.raises(kind, match=sentence) as caught:
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


def test_a_call_that_is_cut_before_it_begins_is_never_sent(service: Service) -> None:
    with pytest.raises(Cancelled):
        invoke_endpoint(service.endpoint(), HELLO, {}, lambda cut: cut())

    assert service.requests == []
