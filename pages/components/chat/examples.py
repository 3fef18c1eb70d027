"""An example of what to ask a model that can't be chatted with."""

from __future__ import annotations

from typing import Any


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
