"""GET and DELETE /v1/responses/ID: a response that was stored, as the turn of a conversation that it is."""

from __future__ import annotations

from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from phi3core.errors import Conflict, NotFound
from phi3core.serving.body import RequestError
from phi3core.settings import Settings
from phi3core.traces.turn import Turn

from .failures import ResponseNotFound
from .response_events import RESPONSE, STOPPED, ResponseWriter
from .response_request import ResponseRequest
from .responses import History, asking_person
from .upstream import Upstream


class StoredResponses:
    """The two routes. history: of the app, once it has started."""

    def __init__(self, settings: Settings, upstream: Upstream) -> None:
        self._settings, self._upstream = settings, upstream
        self.history: History | None = None

    async def answer(self, request: Request) -> Response:
        """The response, or that it is deleted."""
        self._upstream.session()
        history, person = self.history, asking_person(self._settings, dict(request.headers))
        assert history is not None, "the gateway has not started"
        id = request.path_params["id"]
        turn = id.removeprefix(RESPONSE)
        try:
            if request.method == "DELETE":
                await self._upstream.call(history.delete, turn, person)
                return JSONResponse({"id": id, "object": "response", "deleted": True})
            if request.query_params.get("stream") == "true":
                text = "Only an answer that is still coming can be streamed: leave “stream” out."
                raise RequestError(text, "stream", "unsupported_parameter")
            return JSONResponse(describe(await self._upstream.call(history.get, turn, person.name)))
        except NotFound as error:
            text = f"There is no “{id[:80]}” of yours, or it was not stored."
            raise ResponseNotFound(text) from error
        except Conflict as error:
            raise RequestError(str(error), "response_id", "response_in_use") from error


def describe(turn: Turn) -> dict[str, Any]:
    """The response that a turn is, as OpenAI writes it; what a turn does not hold is as when it was left out."""
    options = turn.options
    form: dict[str, Any] = {"type": "text"}
    if turn.schema is not None:
        schema = {"type": "json_schema", "name": "answer", "schema": turn.schema, "strict": True}
        form = schema if turn.schema else {"type": "json_object"}
    request = ResponseRequest(
        model=turn.asked_ref or turn.ref,
        input=turn.question,
        instructions=turn.system or None,
        max_output_tokens=options.get("max_tokens"),
        temperature=options.get("temperature"),
        top_p=options.get("top_p"),
        previous_response_id=f"{RESPONSE}{turn.parent}" if turn.parent else None,
        text={"format": form},  # type: ignore[arg-type]
    )
    counted = turn.prompt_tokens or turn.completion_tokens
    usage = {
        "prompt_tokens": turn.prompt_tokens,
        "completion_tokens": turn.completion_tokens,
        "total_tokens": turn.prompt_tokens + turn.completion_tokens,
        "prompt_tokens_details": {"cached_tokens": turn.cached_tokens},
    }
    writer = ResponseWriter(
        request,
        turn.id,
        turn.ref,
        kept=True,
        created=turn.when / 1000,
        text=turn.answer,
        finish_reason=STOPPED if turn.state == "stopped" else turn.finish_reason or "stop",
        usage=usage if counted else None,
        warnings=[turn.note] if turn.note else [],
    )
    return writer.whole()
