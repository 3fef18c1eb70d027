"""What /v1 takes, as an OpenAPI document: for generators of clients, and for programs that try out what it refuses."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from pydantic.json_schema import models_json_schema

import phi3core
from phi3core.serving.child.requests import ChatRequest, CompletionRequest

from .response_request import ResponseRequest

_REQUESTS = {
    "/v1/chat/completions": ChatRequest,
    "/v1/completions": CompletionRequest,
    "/v1/responses": ResponseRequest,
}


@lru_cache(1)
def openapi() -> dict[str, Any]:
    """The document; what is answered stands in OpenAI's own reference."""
    models: list[Any] = [(model, "validation") for model in _REQUESTS.values()]
    _, schemas = models_json_schema(models, ref_template="#/components/schemas/{model}")
    paths: dict[str, Any] = {path: {"post": _operation(model.__name__)} for path, model in _REQUESTS.items()}
    paths["/v1/models"] = {"get": {"responses": {"200": {"description": "Every reference of a version."}}}}
    return {
        "openapi": "3.1.0",
        "info": {"title": "Phi-3 Playground", "version": phi3core.__version__},
        "paths": paths,
        "components": {"schemas": schemas["$defs"]},
    }


def _operation(schema: str) -> dict[str, Any]:
    content = {"application/json": {"schema": {"$ref": f"#/components/schemas/{schema}"}}}
    told = {"200": "The answer, whole or as server-sent events.", "4XX": "Refused.", "503": "Not now."}
    return {
        "requestBody": {"required": True, "content": content},
        "responses": {status: {"description": description} for status, description in told.items()},
    }
