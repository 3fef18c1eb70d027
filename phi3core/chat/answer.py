"""Having one question answered: by a version's model server, or by an endpoint elsewhere.

Fills a turn in as the answer comes, and never raises: whatever goes wrong ends up in the outcome as a sentence. Knows
nothing of conversations but the messages that are sent.
"""

from __future__ import annotations

import json
import time
from functools import partial
from typing import Any

from phi3core.clean_text import clean
from phi3core.endpoints.client import invoke_endpoint
from phi3core.endpoints.config import Endpoint
from phi3core.errors import BadInput, Phi3Error, ServerError
from phi3core.registry.models import Version
from phi3core.serving.handle import ModelServer
from phi3core.serving.pool import Pool
from phi3core.text import join_words

from .live_turn import LiveTurn, Outcome
from .model_client import apply_template, first_line, model_properties
from .stream import import_client, stream_answer
from .supported_options import ENDPOINT_OPTIONS, drop_unsupported_options
from .target import Target


def answer(pool: Pool, live: LiveTurn, target: Target, messages: list[dict[str, str]], conversation: str) -> Outcome:
    """Fill the turn in, and return how it ended; its state is left to the caller.

    Args:
        conversation: its id, by which a model server finds what it has kept of it.
    """
    server: ModelServer | None = None
    try:
        if isinstance(target, Version):
            server = pool.open(target)
            with server.hold():
                import_client()  # while the server loads there is time for it
                _wait_open(server, live)
                if not live.stopping:
                    _ask_server(server, live, messages, conversation)
        else:
            _ask_endpoint(target, live, messages)
    except Exception as error:
        # Hanging up ends the stream with an error that depends on the moment.
        if not live.stopping:
            reason = str(error) if isinstance(error, Phi3Error) else _explain(error, server, target, live)
            full = getattr(error, "code", None) == "context_length_exceeded"
            refused = isinstance(error, BadInput) or getattr(error, "status_code", None) in (400, 422)
            return Outcome("failed", reason, full, refused)
    return Outcome("stopped" if live.stopping else "done")


def read_schema(text: str) -> dict[str, Any]:
    """A JSON schema that a user wrote; empty text means any object. Raises BadInput naming what is wrong."""
    if not text.strip():
        return {}
    try:
        schema = clean(json.loads(text))
    except RecursionError as error:
        raise BadInput("The schema is nested too deep.") from error
    except ValueError as error:
        raise BadInput(f"The schema is no JSON: {error}.") from error
    if not isinstance(schema, dict):
        raise BadInput("The schema must be a JSON object, such as {“type”: “object”}.")
    return schema


# ---------------------------------------------------------------- a version's own server


def _wait_open(server: ModelServer, live: LiveTurn) -> None:
    words = {"starting": "Starting the model server", "loading": "Loading the model"}
    while not (status := server.status()).open and not live.stopping:
        if status.state == "failed":
            raise ServerError(f"{live.turn.ref} could not be opened. {status.reason}")
        detail = f"{status.detail}, " if status.detail else ""
        live.set_waiting(f"{words.get(status.state, status.state)} ({detail}{status.seconds:.0f} s)")
        time.sleep(0.05)


def _ask_server(server: ModelServer, live: LiveTurn, messages: list[dict[str, str]], conversation: str) -> None:
    turn, properties = live.turn, model_properties(server)
    kind, supported = properties["chat"], properties["supports"]
    if kind == "none":
        raise ServerError(
            f"{turn.ref} holds no conversations: its signature takes neither messages nor one text. "
            "Ask it with the JSON form on the Chat page, or talk to another version."
        )
    if live.lenient:
        drop_unsupported_options(live, supported)
    if "seed" not in turn.options and "seed" not in supported:
        live.drop_seed()
    if kind == "prompt" and not turn.raw:
        messages = _only_question(live, messages)
    prompt = turn.question if turn.raw else ""
    if kind == "template" and not turn.raw:
        prompt = apply_template(server, messages)
    live.set_prompt(prompt, waiting="Reading the prompt")
    try:
        stream_answer(f"{server.url}/v1", server.key, turn.ref, live, messages, conversation)
    finally:
        live.set_memory(server.memory)


def _only_question(live: LiveTurn, messages: list[dict[str, str]]) -> list[dict[str, str]]:
    """The last question alone, for a model that takes one text; the turn says what was left out."""
    if len(messages) > 1:
        system = "the system prompt" if messages[0]["role"] == "system" else ""
        before = "what was said before" if len(messages) > (2 if system else 1) else ""
        left_out = join_words(part for part in (system, before) if part)
        live.add_note(f"This model takes one text and no conversation: {left_out} was not sent.")
    return messages[-1:]


# ---------------------------------------------------------------- an endpoint elsewhere


def _ask_endpoint(endpoint: Endpoint, live: LiveTurn, messages: list[dict[str, str]]) -> None:
    turn = live.turn
    if live.lenient:
        drop_unsupported_options(live, ENDPOINT_OPTIONS[endpoint.kind])
    if endpoint.kind == "openai":
        live.set_prompt(turn.question if turn.raw else "", waiting=f"Waiting for {endpoint.name}")
        ask = partial(stream_answer, endpoint.url, endpoint.key or "none", endpoint.model, live, messages)
        try:
            ask()
        except Exception as error:
            if "seed" in turn.options or not _refuses_seed(error):
                raise
            live.drop_seed()  # it was drawn here, so that the answer can be had again
            ask()
        return
    if turn.raw and endpoint.task == "chat":
        raise BadInput(f"{endpoint.name} takes messages only: switch the raw prompt off.")
    if turn.schema is not None:
        raise BadInput(f"{endpoint.name} can't be held to JSON: switch the JSON mode off.")
    if "seed" not in turn.options:
        live.drop_seed()  # a scoring endpoint may make anything of a parameter that the user did not ask for
    if endpoint.task == "prompt" and not turn.raw:
        messages = _only_question(live, messages)
    live.set_waiting(f"Waiting for {endpoint.name}; it answers in one piece")
    asked = time.perf_counter()
    found = invoke_endpoint(endpoint, messages[-1:] if turn.raw else messages, turn.options, live.when_stopped)
    live.set_speed((time.perf_counter() - asked) * 1000, 0.0)
    live.append(found.text)
    live.set_finish_reason(found.finish_reason)
    live.set_counts(found.prompt_tokens, found.completion_tokens)


def _refuses_seed(error: Exception) -> bool:
    """Whether an endpoint refused the request for its seed: not every server of OpenAI's protocol takes one."""
    return getattr(error, "status_code", None) in (400, 422) and "seed" in str(error)


# ---------------------------------------------------------------- what went wrong


def _explain(error: Exception, server: ModelServer | None, target: Target, live: LiveTurn) -> str:
    """An error of the openai client in a sentence: the server's own, or what became of its process."""
    if isinstance(target, Endpoint):
        return _explain_endpoint(error, target, bool(live.turn.answer))
    if message := _server_message(error):
        return message
    if server is not None:
        deadline = time.monotonic() + 2  # a process that was just killed takes a moment to be seen dead
        while server.alive() and time.monotonic() < deadline:
            time.sleep(0.05)
        if not server.alive():
            when = "in mid-answer" if live.turn.answer else "before it answered"
            return f"The model server died {when}. {server.status().reason} Your conversation is kept: try again."
    return f"The answer broke off: {first_line(error)}"


def _explain_endpoint(error: Exception, endpoint: Endpoint, begun: bool) -> str:
    """The same for an endpoint; without the key, which some servers repeat in their errors. begun: text had come."""
    from openai import APIConnectionError, APITimeoutError

    name, table = endpoint.name, f"[endpoints.{endpoint.name}]"
    message = _server_message(error) or first_line(error)
    if endpoint.key:
        message = message.replace(endpoint.key, "•••")
    status = getattr(error, "status_code", None)
    if begun:
        return f"{name} broke the answer off: {message}"
    if isinstance(error, APITimeoutError):
        return f"{name} did not answer in time. Check its url in {table} and your network, or try again."
    if isinstance(error, APIConnectionError):
        why = first_line(error.__cause__ or error).rstrip(". ")
        return f"{name} can't be reached: {why}. Check its url in {table}, and that it is running."
    if status in (401, 403):
        return f"{name} refused the key ({status}). Check it in {table}."
    if status is not None and 300 <= status < 400:
        return f"{name} redirects elsewhere, and the key is not sent on. Put the right address into {table}."
    return f"{name} refused the request{f' ({status})' if status else ''}: {message}"


def _server_message(error: Exception) -> str:
    """What the server said in OpenAI's way, empty where it said nothing."""
    body = getattr(error, "body", None)
    return str(body.get("message") or "") if isinstance(body, dict) else ""
