"""What a model server is asked beside conversations: to count, to render, to predict."""

from __future__ import annotations

import json
from typing import Any

from phi3core.errors import BadInput, ServerError
from phi3core.serving.pool import ModelServer


def tokenize(server: ModelServer, asked: str | list[dict[str, str]]) -> tuple[int | None, str]:
    """How many tokens a prompt or messages are, None where the model does not tell, and the rendered prompt."""
    name = "prompt" if isinstance(asked, str) else "messages"
    found = _post(server, "/tokenize", {name: asked}, 30)
    return found["count"], found.get("prompt") or ""


def invoke(server: ModelServer, body: str) -> Any:
    """The predictions for a JSON body, by MLflow's own protocol. Raises BadInput for what is no JSON object."""
    try:
        asked = json.loads(body)
    except ValueError as error:
        raise BadInput(f"The input is no JSON: {error}.") from error
    if not isinstance(asked, dict):
        raise BadInput("The input must be a JSON object, as the example is.")
    return _post(server, "/invocations", asked, 3600)


def example(signature: dict[str, Any]) -> dict[str, Any]:
    """A request that fits a signature (MLflow's, its parts as lists of dicts), with made-up values."""
    inputs = signature.get("inputs") or []
    tensors = [column for column in inputs if column.get("type") == "tensor"]
    if tensors and all(column.get("name") for column in inputs):
        body: dict[str, Any] = {"inputs": {column["name"]: _tensor(column) for column in inputs}}
    elif tensors:
        body = {"inputs": _tensor(tensors[0])}
    elif inputs and all(column.get("name") for column in inputs):
        body = {"dataframe_records": [{column["name"]: _value(column) for column in inputs}]}
    else:
        body = {"inputs": [_value(column) for column in inputs] or ["…"]}
    params = {param["name"]: param.get("default") for param in signature.get("params") or []}
    return body | ({"params": params} if params else {})


def _tensor(column: dict[str, Any]) -> Any:
    spec = column.get("tensor-spec") or {}
    made: Any = _plain(str(spec.get("dtype", "float64")))
    for size in reversed(spec.get("shape") or [1]):
        made = [made] * (size if 0 < size <= 64 else 1)
    return made


def _value(column: dict[str, Any]) -> Any:
    kind = column.get("type", "string")
    if kind == "array":
        return [_value(column.get("items") or {})]
    if kind == "object":
        return {name: _value(part) for name, part in (column.get("properties") or {}).items()}
    if kind == "map":
        return {"key": _value(column.get("values") or {})}
    return _plain(kind)


def _plain(kind: str) -> Any:
    if kind.startswith(("int", "uint", "long")):
        return 1
    if kind.startswith(("float", "double")):
        return 1.0
    if kind.startswith("bool"):
        return True
    if kind.startswith("datetime"):
        return "2026-01-31T12:00:00"
    return "aGVsbG8=" if kind == "binary" else "text"


def _post(server: ModelServer, path: str, body: dict[str, Any], seconds: float) -> Any:
    """Raises ServerError with the server's own words, or that it does not answer."""
    import httpx

    headers = {"Authorization": f"Bearer {server.key}"}
    try:
        answer = httpx.post(server.url + path, json=body, headers=headers, timeout=httpx.Timeout(seconds, connect=10))
    except httpx.HTTPError as error:
        raise ServerError(f"The model server of {server.ref} does not answer: {error}.") from error
    try:
        found = answer.json()
    except ValueError as error:
        raise ServerError(f"The model server of {server.ref} answered {answer.status_code} without JSON.") from error
    if answer.is_error:
        told = found.get("error") if isinstance(found, dict) else None
        raise ServerError(str((told or {}).get("message") or f"The model server answered {answer.status_code}."))
    return found
