"""What a server is asked beside answers: its properties, how many tokens a prompt is, predictions.

A version's server runs on this machine; an endpoint elsewhere may know some of the same paths.
"""

from __future__ import annotations

import json
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from phi3core.clean_text import clean
from phi3core.endpoints.config import Endpoint
from phi3core.errors import BadInput, Phi3Error, ServerError
from phi3core.http_client import local_client
from phi3core.serving.handle import ModelServer

if TYPE_CHECKING:
    import httpx2

_PROPERTIES, _COUNT, _RENDER, _PREDICT = 60.0, 10.0, 30.0, 3600.0  # seconds


def count_context(server: ModelServer | Endpoint, messages: list[dict[str, str]]) -> tuple[int | None, int | None]:
    """How many tokens the messages are for a server, and how many its context holds; None where it does not tell."""
    import httpx2

    try:
        model = getattr(server, "model", "") or server.ref
        body = {"model": model, "messages": messages}
        url = f"{server.url.rstrip('/').removesuffix('/v1')}/tokenize"  # vLLM has it beside /v1 too
        if isinstance(server, Endpoint):
            with httpx2.Client() as client:
                counted = _post(client, url, server.key, body, _COUNT)
        else:
            counted = _post(local_client(), url, server.key, body, _COUNT)
        return counted.get("count"), counted.get("max_model_len")
    except (Phi3Error, httpx2.HTTPError, httpx2.InvalidURL, ValueError, AttributeError):
        return None, None


def model_properties(server: ModelServer) -> dict[str, Any]:
    """What a model server tells of its model, see serving/child/app.py.

    Raises ServerError, or the HTTP client's error.
    """
    return _properties(server.url, server.key)


@lru_cache(maxsize=256)
def _properties(url: str, key: str) -> dict[str, Any]:
    answer = local_client().get(f"{url}/props", headers=_headers(key), timeout=_PROPERTIES)
    found: dict[str, Any] = _read(answer)
    return found


def apply_template(server: ModelServer, messages: list[dict[str, str]]) -> str:
    """The prompt that the model's chat template makes of messages.

    Raises BadInput where the template refuses them, ServerError, or the HTTP client's error.
    """
    url = f"{server.url}/apply-template"
    return str(_post(local_client(), url, server.key, {"messages": messages}, _PROPERTIES)["prompt"])


def render_prompt(server: ModelServer, asked: str | list[dict[str, str]]) -> tuple[int | None, str]:
    """How many tokens a prompt or messages are, None where the model does not tell, and the rendered prompt.

    Raises ServerError.
    """
    name = "prompt" if isinstance(asked, str) else "messages"
    found = _post_local(server, "/tokenize", {name: asked}, _RENDER)
    return found["count"], found.get("prompt") or ""


def invoke_server(server: ModelServer, body: str) -> Any:
    """The predictions for a JSON body, by MLflow's own protocol. Raises BadInput or ServerError."""
    try:
        asked = clean(json.loads(body))
    except RecursionError as error:
        raise BadInput("The input is nested too deep.") from error
    except ValueError as error:
        raise BadInput(f"The input is no JSON: {error}.") from error
    if not isinstance(asked, dict):
        raise BadInput("The input must be a JSON object, as the example is.")
    return _post_local(server, "/invocations", asked, _PREDICT)


def _post_local(server: ModelServer, path: str, body: dict[str, Any], timeout: float) -> Any:
    """Ask a version's own server. Raises ServerError."""
    import httpx2

    try:
        return _post(local_client(), server.url + path, server.key, body, timeout)
    except httpx2.HTTPError as error:
        raise ServerError(f"The model server of {server.ref} does not answer: {first_line(error)}.") from error
    except ValueError as error:
        raise ServerError(f"The model server of {server.ref} answered without JSON.") from error


def _post(client: httpx2.Client, url: str, key: str, body: dict[str, Any], timeout: float) -> Any:
    """Post a body. Raises ServerError with the server's own words, the client's errors, ValueError for no JSON."""
    return _read(client.post(url, json=body, headers=_headers(key), timeout=timeout))


def _headers(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"} if key else {}


def _read(answer: httpx2.Response) -> Any:
    """An answer's JSON. Raises BadInput where what was sent is refused, else ServerError.

    A redirect is an error, too, for no client here follows one with the key.
    """
    if answer.is_success:
        return answer.json()
    try:
        reason = str(answer.json()["error"]["message"])
    except (ValueError, KeyError, TypeError):
        reason = f"The server answered {answer.status_code} on {answer.url.path}."
    raise (BadInput if answer.status_code in (400, 422) else ServerError)(reason)


def first_line(error: BaseException) -> str:
    """The first line of an error's text, or its class where it has none."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:300]
