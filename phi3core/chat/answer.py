"""Having one question answered: by a version's model server, or by an endpoint elsewhere.

Fills a turn in as the answer comes, and never raises: whatever goes wrong ends up in the turn as a sentence. Knows
nothing of conversations but the messages that are sent.
"""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.request
from functools import lru_cache, partial
from http.client import HTTPException
from typing import Any

from phi3core.endpoints.client import invoke_endpoint
from phi3core.endpoints.config import Endpoint
from phi3core.errors import BadInput, Phi3Error, ServerError
from phi3core.registry.models import Version
from phi3core.serving.handle import ModelServer
from phi3core.serving.pool import Pool
from phi3core.traces.turn import Turn

from .fit import ENDPOINT_OPTIONS, fit_options
from .stream import stream_answer, warm_client

Target = Version | Endpoint
"""Who is asked. Both have a `ref`."""


def answer(pool: Pool, turn: Turn, target: Target, messages: list[dict[str, str]], conversation: str) -> dict[str, Any]:
    """Fill the turn in, and return how it ended: the fields that make it so, for `Turn.update`.

    conversation: its id, by which a model server finds what it has kept of it.
    """
    server: ModelServer | None = None
    try:
        if isinstance(target, Version):
            server = pool.open(target)
            with server.hold():
                warm_client()  # while the server loads there is time for it
                _wait(server, turn)
                if not turn.stopping:
                    _ask_server(server, turn, messages, conversation)
        else:
            _ask_endpoint(target, turn, messages)
    except Exception as error:
        # Hanging up ends the stream with whatever error the client makes of it.
        if not turn.stopping:
            said = str(error) if isinstance(error, Phi3Error) else _explain(error, server, target, turn)
            full = getattr(error, "code", None) == "context_length_exceeded"
            return {"state": "failed", "error": said, "full": full}
    return {"state": "stopped" if turn.stopping else "done", "error": ""}


def count_context(server: ModelServer | Endpoint, messages: list[dict[str, str]]) -> tuple[int | None, int | None]:
    """How many tokens the messages are for a server, and how many its context holds; None where it does not tell."""
    try:
        model = getattr(server, "model", "") or server.ref
        url = server.url.rstrip("/").removesuffix("/v1")  # vLLM has it beside /v1 too
        counted = _request(url, server.key, "/tokenize", {"model": model, "messages": messages}, timeout=10)
    except (Phi3Error, OSError, ValueError):
        return None, None
    return counted.get("count"), counted.get("max_model_len")


def model_properties(server: ModelServer) -> dict[str, Any]:
    """What a model server tells of its model; see serving/server.py. Raises ServerError."""
    return _props(server.url, server.key)


@lru_cache(maxsize=256)
def _props(url: str, key: str) -> dict[str, Any]:
    return _request(url, key, "/props")


def render_prompt(server: ModelServer, asked: str | list[dict[str, str]]) -> tuple[int | None, str]:
    """How many tokens a prompt or messages are, None where the model does not tell, and the rendered prompt.

    Raises ServerError.
    """
    name = "prompt" if isinstance(asked, str) else "messages"
    found = _post(server, "/tokenize", {name: asked}, timeout=30)
    return found["count"], found.get("prompt") or ""


def invoke_server(server: ModelServer, body: str) -> Any:
    """The predictions for a JSON body, by MLflow's own protocol. Raises BadInput or ServerError."""
    try:
        asked = json.loads(body)
    except ValueError as error:
        raise BadInput(f"The input is no JSON: {error}.") from error
    if not isinstance(asked, dict):
        raise BadInput("The input must be a JSON object, as the example is.")
    return _post(server, "/invocations", asked, timeout=3600)


def read_schema(text: str) -> dict[str, Any]:
    """A JSON schema that somebody wrote; empty text means any object. Raises BadInput naming what is wrong."""
    if not text.strip():
        return {}
    try:
        schema = json.loads(text)
    except ValueError as error:
        raise BadInput(f"The schema is no JSON: {error}.") from error
    if not isinstance(schema, dict):
        raise BadInput("The schema must be a JSON object, such as {“type”: “object”}.")
    return schema


# ---------------------------------------------------------------- a version's own server


def _wait(server: ModelServer, turn: Turn) -> None:
    words = {"starting": "Starting the model server", "loading": "Loading the model"}
    while not (status := server.status()).open and not turn.stopping:
        if status.state == "failed":
            raise ServerError(f"{turn.ref} could not be opened. {status.reason}")
        detail = f"{status.detail}, " if status.detail else ""
        turn.update(waiting=f"{words.get(status.state, status.state)} ({detail}{status.seconds:.0f} s)")
        time.sleep(0.05)


def _ask_server(server: ModelServer, turn: Turn, messages: list[dict[str, str]], conversation: str) -> None:
    known = model_properties(server)
    kind = known.get("chat", "template")
    if kind == "none":
        raise ServerError(
            f"{turn.ref} holds no conversations: its signature takes neither messages nor one text. "
            "Ask it with the JSON form on the Chat page, or talk to another version."
        )
    if turn.copy_of:  # nobody could leave out by hand what this version does not take
        fit_options(turn, known["supports"])
    if "seed" not in turn.options and "seed" not in known.get("supports", ["seed"]):
        turn.update(seed=None)  # a drawn one would be refused
    if kind == "prompt" and not turn.raw:
        messages = only_question(turn, messages)
    prompt = turn.question if turn.raw else ""
    if kind == "template" and not turn.raw:
        prompt = str(_request(server.url, server.key, "/apply-template", {"messages": messages})["prompt"])
    turn.update(prompt=prompt, waiting="Reading the prompt")
    stream_answer(f"{server.url}/v1", server.key, turn.ref, turn, messages, conversation)


def only_question(turn: Turn, messages: list[dict[str, str]]) -> list[dict[str, str]]:
    """The last question alone, for a model that takes one text; the turn says what was left out."""
    if len(messages) > 1:
        left = "the system prompt" if messages[0]["role"] == "system" else ""
        before = "what was said before" if len(messages) > (2 if left else 1) else ""
        told = " and ".join(part for part in (left, before) if part)
        note = f"This model takes one text and no conversation: {told} was not sent."
        turn.update(note=f"{turn.note} {note}".strip())
    return messages[-1:]


# ---------------------------------------------------------------- an endpoint elsewhere


def _ask_endpoint(endpoint: Endpoint, turn: Turn, messages: list[dict[str, str]]) -> None:
    if turn.copy_of:
        fit_options(turn, ENDPOINT_OPTIONS[endpoint.kind])
    if endpoint.kind == "openai":
        turn.update(waiting=f"Waiting for {endpoint.name}", prompt=turn.question if turn.raw else "")
        ask = partial(stream_answer, endpoint.url, endpoint.key or "none", endpoint.model, turn, messages)
        try:
            ask()
        except Exception as error:
            if "seed" in turn.options or not _refuses_seed(error):
                raise
            turn.update(seed=None)  # it was drawn here, so that the answer can be had again
            ask()
        return
    if turn.raw and endpoint.task == "chat":
        raise BadInput(f"{endpoint.name} takes messages only: switch the raw prompt off.")
    if turn.schema is not None:
        raise BadInput(f"{endpoint.name} can't be held to JSON: switch the JSON mode off.")
    if "seed" not in turn.options:
        turn.update(seed=None)  # who knows what a scoring endpoint makes of a parameter that nobody asked for
    if endpoint.task == "prompt" and not turn.raw:
        messages = only_question(turn, messages)
    turn.update(waiting=f"Waiting for {endpoint.name}; it answers in one piece")
    asked = time.perf_counter()
    got = invoke_endpoint(endpoint, messages[-1:] if turn.raw else messages, turn.options, turn.when_stopped)
    turn.update(
        answer=got.text, finish_reason=got.finish_reason, waiting="", prompt_tokens=got.prompt_tokens,
        completion_tokens=got.completion_tokens, first_token_ms=(time.perf_counter() - asked) * 1000,
    )  # fmt: skip


def _refuses_seed(error: Exception) -> bool:
    """Whether an endpoint said no because of the seed: not every server of OpenAI's protocol knows it."""
    return getattr(error, "status_code", None) in (400, 422) and "seed" in str(error)


# ---------------------------------------------------------------- small things


def _explain(error: Exception, server: ModelServer | None, target: Target, turn: Turn) -> str:
    """An error of the openai client in a sentence: the server's own, or what became of its process."""
    if isinstance(target, Endpoint):
        return _explain_endpoint(error, target, turn)
    if said := _servers_own(error):
        return said
    if server is not None:
        deadline = time.monotonic() + 2  # a process that was just killed takes a moment to be seen dead
        while server.alive() and time.monotonic() < deadline:
            time.sleep(0.05)
        if not server.alive():
            when = "in mid-answer" if turn.answer else "before it answered"
            return f"The model server died {when}. {server.status().reason} Your conversation is kept: try again."
    return f"The answer broke off: {_first_line(error)}"


def _explain_endpoint(error: Exception, endpoint: Endpoint, turn: Turn) -> str:
    """The same for somebody else's server; without the key, which some repeat in what they say."""
    from openai import APIConnectionError, APITimeoutError

    name, table = endpoint.name, f"[endpoints.{endpoint.name}]"
    said = _servers_own(error) or _first_line(error)
    if endpoint.key:
        said = said.replace(endpoint.key, "•••")
    status = getattr(error, "status_code", None)
    if turn.answer:
        return f"{name} broke the answer off: {said}"
    if isinstance(error, APITimeoutError):
        return f"{name} did not answer in time. Check its url in {table} and your network, or try again."
    if isinstance(error, APIConnectionError):
        why = _first_line(error.__cause__ or error)
        return f"{name} can't be reached: {why}. Check its url in {table}, and that it is running."
    if status in (401, 403):
        return f"{name} refused the key ({status}). Check it in {table}."
    if status is not None and 300 <= status < 400:
        return f"{name} redirects elsewhere, and the key is not sent on. Put the right address into {table}."
    return f"{name} refused the request{f' ({status})' if status else ''}: {said}"


def _servers_own(error: Exception) -> str:
    """What the server said in OpenAI's way, empty where it said nothing."""
    body = getattr(error, "body", None)
    return str(body.get("message") or "") if isinstance(body, dict) else ""


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:300]


def _request(url: str, key: str, path: str, body: dict[str, Any] | None = None, timeout: float = 60) -> dict[str, Any]:
    """GET, or POST a body as JSON. Raises ServerError with the server's own words, or OSError."""
    request = urllib.request.Request(
        url + path,
        data=json.dumps(body).encode() if body is not None else None,
        headers={"Authorization": f"Bearer {key}", "Content-Type": "application/json"},
    )
    try:
        with _opener().open(request, timeout=timeout) as answer:
            found: dict[str, Any] = json.load(answer)
            return found
    except urllib.error.HTTPError as error:
        try:
            said = str(json.load(error)["error"]["message"])
        except (ValueError, KeyError, TypeError):
            said = f"The server answered {error.code} on {path}."
        raise ServerError(said) from error


def _post(server: ModelServer, path: str, body: dict[str, Any], timeout: float) -> Any:
    """The same of a version's own server, also where it does not answer. Raises ServerError."""
    try:
        return _request(server.url, server.key, path, body, timeout)
    except (OSError, HTTPException) as error:
        raise ServerError(f"The model server of {server.ref} does not answer: {_first_line(error)}.") from error
    except ValueError as error:
        raise ServerError(f"The model server of {server.ref} answered without JSON.") from error


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """A redirect is an error: urllib would send the key along."""

    def redirect_request(self, *_: Any) -> None:
        return None


@lru_cache(maxsize=1)
def _opener() -> urllib.request.OpenerDirector:
    return urllib.request.build_opener(_NoRedirect)
