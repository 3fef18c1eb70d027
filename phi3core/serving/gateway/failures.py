"""What went wrong before a model server answered, as OpenAI writes it: a status, a sentence, a code."""

from __future__ import annotations

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from phi3core.errors import BadInput, Busy, Forbidden, NotFound, Phi3Error, ServerError, StoreError
from phi3core.serving.body import RequestError
from phi3core.serving.protocol import error_body

_THERE = (
    "GET /v1/models, POST /v1/chat/completions, POST /v1/completions, POST /v1/responses, and GET and DELETE "
    "/v1/responses/ID"
)


class Died(ServerError):
    """The model server went away before it answered."""


class Unreached(Died):
    """It was dead before the request reached it."""


class ResponseNotFound(NotFound):
    """A response that is not there, or is another person's."""


def _error(
    status: int, text: str, code: str | None, retry: int | None = None, param: str | None = None
) -> JSONResponse:
    headers = {"Retry-After": str(retry)} if retry else {"x-should-retry": "false"} if status >= 500 else {}
    return JSONResponse(error_body(status, text, code, param), status, headers)


async def our_error(_: Request, error: Phi3Error) -> Response:
    text = str(error)
    match error:
        case ResponseNotFound():
            return _error(404, text, "response_not_found", param="response_id")
        case NotFound():
            return _error(404, text, "model_not_found")
        case RequestError():
            return _error(400, text, error.code, param=error.param)
        case BadInput():
            return _error(400, text, "invalid_request")
        case Forbidden():
            return _error(403, text, "code_not_trusted")
        case StoreError():
            return _error(503, text, "store_unavailable", retry=5)
        case Busy():
            return _error(503, text, "out_of_memory", retry=5)
        case Died():
            return _error(502, text, "model_server_died", retry=1)
    # Another try would load the same weights once more and fail in the same way.
    return _error(503, text, "model_not_ready")


async def http_error(request: Request, error: HTTPException) -> Response:
    text = str(error.detail)
    if error.status_code == 404:
        text = f"There is nothing at {request.url.path}. This app has {_THERE}."
    return _error(error.status_code, text, None)


async def crashed(_: Request, error: Exception) -> Response:
    return _error(500, f"The app failed: {error}", None)
