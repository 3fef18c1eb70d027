"""What goes to a managed service and what is read from its answer, against a stand-in and a server of ours."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from phi3core.endpoints.client import EndpointAnswer, check_endpoint
from phi3core.endpoints.config import Endpoint
from tests.endpoints.service import HELLO, KEY, TALK, Service, ask
from tests.support.fakes import FakeEngine
from tests.support.serving import client_of, serving, wait_loaded

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
    assert answer == EndpointAnswer("Hi.", "length", 9, 3)


def test_azure_ml_gets_a_text_with_parameters(service: Service) -> None:
    service.says(["Hi."])

    answer = ask(service.endpoint(dialect="azureml", task="prompt"), max_tokens=5)

    table = {"columns": ["prompt"], "index": [0], "data": [["hello"]]}
    assert service.requests[0][2] == {"input_data": table, "params": {"max_tokens": 5}}
    assert answer == EndpointAnswer("Hi.", "stop", 0, 0)


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


def test_the_managed_services_are_not_asked_for_nothing(service: Service) -> None:
    for dialect in ("azureml", "databricks"):
        assert check_endpoint(service.endpoint(dialect=dialect)) == ""

    assert service.requests == []


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
