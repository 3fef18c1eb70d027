"""Requests to an endpoint, and a sentence for each reason why it does not answer."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from phi3core.engine.pyfunc_output import AnswerReader
from phi3core.errors import BadInput, Busy, Cancelled, ServerError
from phi3core.http_client import shut_down, trace_socket

from .config import Endpoint

if TYPE_CHECKING:
    import httpx2

_CONNECT, _ANSWER, _CHECK = 10.0, 600.0, 5.0  # seconds
_HIDDEN = "•••"


@dataclass(frozen=True)
class EndpointAnswer:
    """One whole answer. finish_reason: ``stop`` unless the model says otherwise; counts are 0 where it tells none."""

    text: str
    finish_reason: str
    prompt_tokens: int
    completion_tokens: int


def check_endpoint(endpoint: Endpoint) -> str:
    """Why the endpoint does not answer, in a sentence; empty when it does, or where every request would cost money."""
    import httpx2

    if endpoint.kind == "openai":
        url = f"{endpoint.url}/models"
    elif endpoint.dialect == "mlflow":
        url = endpoint.url.rpartition("/")[0] + "/ping"
    else:
        return ""
    try:
        with httpx2.Client(timeout=_CHECK) as http:
            answer = http.get(url, headers=_headers(endpoint))
    except Exception as error:  # the client's errors, and those of the libraries below it
        return _unreachable(endpoint, error, _CHECK)
    return "" if answer.is_success else str(_refusal(endpoint, answer))


def invoke_endpoint(
    endpoint: Endpoint,
    messages: list[dict[str, str]],
    options: dict[str, Any],
    hang_up: Callable[[Callable[[], None]], None],
) -> EndpointAnswer:
    """Ask an MLflow endpoint, and wait for its whole answer.

    Args:
        options: under OpenAI's names; MLflow silently drops a parameter that the model's signature does not have.
        hang_up: is called with a function that ends the call from another thread.

    Raises:
        BadInput: the request is refused.
        Busy: the server has too much to do.
        Cancelled: the call was ended from another thread.
        ServerError: any other failure.
    """
    import httpx2

    body = _body(endpoint, messages, options)
    line = _Line()
    hang_up(line.cut)
    try:
        timeout = httpx2.Timeout(_ANSWER, connect=_CONNECT)
        with httpx2.Client(timeout=timeout) as http:
            answer = http.post(endpoint.url, json=body, headers=_headers(endpoint), extensions={"trace": line.watch})
    except Exception as error:  # the client's errors, and those of a socket that was shut down
        if line.is_cut:
            raise Cancelled("Stopped.") from error
        raise ServerError(_unreachable(endpoint, error, _ANSWER)) from error
    if line.is_cut:
        raise Cancelled("Stopped.")
    if not answer.is_success:
        raise _refusal(endpoint, answer)
    return _answer(endpoint, answer, options)


class _Line:
    """The connection of one call, to be cut from another thread."""

    def __init__(self) -> None:
        self.is_cut = False
        self._socket: socket.socket | None = None
        self._trace = trace_socket(self._connected)

    def cut(self) -> None:
        self.is_cut = True
        shut_down(self._socket)

    def watch(self, event: str, info: dict[str, Any]) -> None:
        """The request's trace, called with each event of its connection."""
        self._trace(event, info)
        if self.is_cut:
            raise ConnectionAbortedError

    def _connected(self, connection: socket.socket | None) -> None:
        self._socket = connection


def _headers(endpoint: Endpoint) -> dict[str, str]:
    return {"Authorization": f"Bearer {endpoint.key}"} if endpoint.key else {}


def _body(endpoint: Endpoint, messages: list[dict[str, str]], options: dict[str, Any]) -> dict[str, Any]:
    """The request as the endpoint's dialect has it. Raises BadInput for what its signature can't hold."""
    options = {name: value for name, value in options.items() if value is not None}
    row: dict[str, Any]
    params: dict[str, Any]
    if endpoint.task == "chat":
        row, params = {"messages": messages, **options}, {}
    else:
        if len(messages) != 1 or messages[0]["role"] != "user":
            raise BadInput(f"{endpoint.name} takes one text and no conversation: send one message of the user's.")
        row, params = {endpoint.column: messages[0]["content"]}, options
    if endpoint.task == "chat" and endpoint.dialect != "azureml":
        return row
    table: dict[str, Any] = {"columns": list(row), "index": [0], "data": [list(row.values())]}
    body = {"input_data" if endpoint.dialect == "azureml" else "dataframe_split": table}
    return body | ({"params": params} if params else {})


def _answer(endpoint: Endpoint, answer: httpx2.Response, options: dict[str, Any]) -> EndpointAnswer:
    try:
        body = answer.json()
    except ValueError as error:
        raise ServerError(
            f"{endpoint.name} answered with something that is no JSON: “{_short(answer.text, endpoint)}”. "
            "Is its url right?"
        ) from error
    reader = AnswerReader()
    try:
        text = reader.read(body)
    except ServerError as error:
        raise ServerError(f"{endpoint.name}: {error}") from error
    reason, limit = reader.finish_reason, options.get("max_tokens")
    if reason == "stop" and limit and reader.completion_tokens >= limit:
        reason = "length"  # MLflow's chat pipeline says “stop” then, too
    return EndpointAnswer(text, reason, reader.prompt_tokens, reader.completion_tokens)


# ---------------------------------------------------------------- what went wrong


def _refusal(endpoint: Endpoint, answer: httpx2.Response) -> BadInput | Busy | ServerError:
    """A response that is no answer, as the error to raise."""
    status, name = answer.status_code, endpoint.name
    raised, text = _error_text(answer)
    reason = f": “{_short(text, endpoint)}”" if text.strip() else ""
    match status:
        case 401 | 403:
            missing = "" if endpoint.key else " None was sent: give “key” or “key_env”."
            return ServerError(f"{name} refused the key ({status}). Check it in [endpoints.{name}].{missing}")
        case 404 | 405:
            return ServerError(f"{name} has nothing at {endpoint.url} ({status}){reason}. Check its url.")
        case 408 | 504:
            return ServerError(f"{name} gave up on the answer: it took longer than it allows ({status}){reason}.")
        case 429:
            return Busy(f"{name} has too much to do (429){reason}. Try again in a moment.")
    if 300 <= status < 400:
        host = urlsplit(answer.headers.get("location", "")).hostname or "another address"
        return ServerError(
            f"{name} redirects to {host}, and the key is not sent on. Put the right address into [endpoints.{name}]."
        )
    if raised or status == 424:  # as MLflow and Azure ML say that the model's own code failed
        return ServerError(f"The model at {name} failed ({status}){reason}. Its server's log says more.")
    if status < 500:
        return BadInput(f"{name} refused the request ({status}){reason}.")
    return ServerError(f"{name} failed ({status}){reason}.")


def _error_text(answer: httpx2.Response) -> tuple[bool, str]:
    """The server's error, as MLflow, Databricks, OpenAI or FastAPI write it.

    Returns:
        Whether the body holds a traceback, and the text of the error.
    """
    try:
        body = answer.json()
    except ValueError:
        return False, "" if "html" in answer.headers.get("content-type", "") else answer.text
    if not isinstance(body, dict):
        return False, json.dumps(body)
    if trace := str(body.get("stack_trace") or "").strip():
        return True, _last_error(trace)  # MLflow's message only says then that something went wrong
    error = body.get("error")
    message = body.get("message") or (error.get("message") if isinstance(error, dict) else error) or body.get("detail")
    text = message if isinstance(message, str) else json.dumps(message or "")
    return False, text.rpartition("Error: ")[2] if text.startswith("Failed to predict data") else text


def _last_error(trace: str) -> str:
    """What a traceback ends with: the lines of its frames are indented, those of the error are not."""
    lines = trace.splitlines()
    framed = [at for at, line in enumerate(lines[:-1]) if line.startswith("  ")]
    return lines[framed[-1] + 1 if framed else -1]


def _short(text: str, endpoint: Endpoint) -> str:
    """The first line, without the key should it be in it."""
    text = text.replace(endpoint.key, _HIDDEN) if endpoint.key else text
    return (text.strip().splitlines() or [""])[0][:300].rstrip(". ")


def _unreachable(endpoint: Endpoint, error: Exception, seconds: float) -> str:
    import httpx2

    url = urlsplit(endpoint.url)
    where = f"{endpoint.name} at {url.hostname}{f':{url.port}' if url.port else ''}"
    if isinstance(error, httpx2.ConnectTimeout):
        return f"{where} can't be reached: nobody answered. Check its url and your network."
    if isinstance(error, httpx2.TimeoutException):
        return f"{where} did not answer within {seconds:g} s. Ask for fewer tokens, or try again."
    if isinstance(error, httpx2.ConnectError):
        why = _short(str(error), endpoint) or "the connection was refused"
        return f"{where} can't be reached: {why}. Check its url, and that it is running."
    return f"{where} broke the answer off: {_short(str(error), endpoint) or type(error).__name__}. Try again."
