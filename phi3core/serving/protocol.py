"""Errors and events as OpenAI's protocol writes them; the model servers and the app's own ``/v1`` use the same."""

from __future__ import annotations

import json
from typing import Any

from starlette.responses import JSONResponse

PROMPT_TOKENS = "x-prompt-tokens"
"""The header in which a model server says, before a stream, how many tokens the prompts have."""


def sse_event(data: dict[str, Any]) -> str:
    """One server-sent event."""
    return f"data: {json.dumps(data)}\n\n"


def error_body(status: int, message: str, code: str | None = None, param: str | None = None) -> dict[str, Any]:
    """An error as OpenAI writes it."""
    kind = "rate_limit_error" if status == 429 else "invalid_request_error" if status < 500 else "server_error"
    return {"error": {"message": message, "type": kind, "param": param, "code": code}}


def error_response(status: int, message: str, code: str | None = None, param: str | None = None) -> JSONResponse:
    """The same as a response, which says when to try again where that helps."""
    headers = {"Retry-After": "1"} if status in (429, 503) else None
    return JSONResponse(error_body(status, message, code, param), status, headers)
