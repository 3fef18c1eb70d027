"""What went wrong while a request was answered, as OpenAI writes it: a status, a sentence, a code."""

from __future__ import annotations

from collections.abc import Sequence

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response

from phi3core.errors import BadInput, Busy, ContextFull, NotFound, NotReady, Phi3Error
from phi3core.serving.body import RequestError
from phi3core.serving.protocol import error_response

_TYPES = ("str", "int", "float", "bool", "list[Part]", "list[str]", "list[int]", "list[list[int]]")
_THERE = "GET /v1/models, POST /v1/chat/completions and POST /v1/completions"


def add_error_handlers(app: FastAPI) -> None:
    """Have the app answer every error so."""
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(BadInput, _bad_input)
    app.add_exception_handler(NotFound, _not_found)
    app.add_exception_handler(Busy, _busy)
    app.add_exception_handler(NotReady, _not_ready)
    app.add_exception_handler(Phi3Error, _failed)
    app.add_exception_handler(HTTPException, _http_error)
    app.add_exception_handler(Exception, _crashed)


async def _invalid(_: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    where = _place(first["loc"])
    return error_response(400, f"{where or 'The request'}: {first['msg']}.", "invalid_request", where or None)


def _place(parts: Sequence[int | str]) -> str:
    """Where in a request, as in ``messages[0].content``, without the type that pydantic names where several fit."""
    names = [part for at, part in enumerate(parts) if at == 0 or str(part) not in _TYPES]
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in names).removeprefix(".")


async def _bad_input(_: Request, error: Exception) -> Response:
    if isinstance(error, RequestError):
        return error_response(400, str(error), error.code, error.param)
    return error_response(400, str(error), "context_length_exceeded" if isinstance(error, ContextFull) else None)


async def _not_found(_: Request, error: Exception) -> Response:
    return error_response(404, str(error), "model_not_found")


async def _busy(_: Request, error: Exception) -> Response:
    return error_response(429, str(error), "rate_limit_exceeded")


async def _not_ready(_: Request, error: Exception) -> Response:
    return error_response(503, str(error), "model_not_ready")


async def _failed(_: Request, error: Exception) -> Response:
    return error_response(500, str(error))


async def _http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    text = str(error.detail)
    if error.status_code == 404:
        text = f"There is nothing at {request.url.path}. This server has {_THERE}."
    return error_response(error.status_code, text)


async def _crashed(_: Request, error: Exception) -> Response:
    return error_response(500, f"The model failed: {error}")
