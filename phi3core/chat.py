"""Conversations with a registered version: asked in the background, followed by whoever looks, kept as traces.

A conversation is a session of MLflow traces, a turn is one of them, written when its answer has ended. An
answer goes on when the page that asked for it is reloaded or closed, because it belongs to the conversation
and not to the page.
"""

from __future__ import annotations

import contextlib
import getpass
import json
import re
import socket
import threading
import time
import urllib.error
import urllib.request
import uuid
from collections import OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

from . import keys
from .errors import BadInput, NotFound, Phi3Error, ServerError
from .registry import Version
from .serving.pool import ModelServer, Pool
from .settings import Settings
from .store import client, errors, experiment

if TYPE_CHECKING:
    from mlflow.entities import Trace

State = Literal["running", "done", "stopped", "failed"]

# Live conversations in memory; an older one is read from its traces again.
_KEPT = 200
_live: OrderedDict[str, Conversation] = OrderedDict()
_live_lock = threading.Lock()


@dataclass
class Turn:
    """A question and its answer.

    ref: the concrete version that answers. options: generation options under OpenAI's names, None left out.
    waiting: what the answer is waiting for, in words. Times are in milliseconds and tokens per second.
    """

    question: str
    ref: str
    system: str = ""
    options: dict[str, Any] = field(default_factory=dict)
    answer: str = ""
    state: State = "running"
    waiting: str = ""
    error: str = ""
    finish_reason: str = ""
    prompt: str = ""
    prompt_tokens: int = 0
    completion_tokens: int = 0
    first_token_ms: float = 0.0
    tokens_per_second: float = 0.0

    def __post_init__(self) -> None:
        self._changed = threading.Condition()
        self._changes = 0
        self._stop = threading.Event()
        self._hang_up: Callable[[], None] = lambda: None

    def stop(self) -> None:
        """End the answer where it is, even before its first token; what came so far is kept."""
        self._stop.set()
        self._hang_up()

    def follow(self, every: float = 0.05) -> Iterator[Turn]:
        """The turn whenever it has changed, at most every so many seconds, until it has ended."""
        seen = -1
        while True:
            with self._changed:
                while self._changes == seen and self.state == "running":
                    self._changed.wait(1)
                seen, ended = self._changes, self.state != "running"
            yield self
            if ended:
                return
            time.sleep(every)

    def update(self, **changes: Any) -> None:
        """Change fields and wake whoever follows."""
        with self._changed:
            for name, value in changes.items():
                setattr(self, name, value)
            self._changes += 1
            self._changed.notify_all()


class Conversation:
    """Turns under one id. Ask through `ask`; only one answer runs at a time."""

    def __init__(self, settings: Settings, pool: Pool, id: str = "") -> None:
        self.id = id or uuid.uuid4().hex
        self.turns: list[Turn] = []
        self._settings, self._pool = settings, pool
        self._thread: threading.Thread | None = None

    @property
    def running(self) -> bool:
        return bool(self.turns) and self.turns[-1].state == "running"

    def ask(self, version: Version, question: str, system: str = "", options: dict[str, Any] | None = None) -> Turn:
        """Put a question to a version and return its turn at once; the answer comes in the background.

        Raises BadInput for an empty question or while another answer is running.
        """
        if not question.strip():
            raise BadInput("The message is empty: write something for the model to answer.")
        if self.running:
            raise BadInput("An answer is still coming: wait for it, or stop it.")
        given = {name: value for name, value in (options or {}).items() if value is not None}
        turn = Turn(question, version.ref, system, given, waiting="Opening the version")
        messages = [*self.messages(system), {"role": "user", "content": question}]
        self.turns.append(turn)
        position = len(self.turns) - 1
        self._thread = threading.Thread(target=self._answer, args=(turn, version, messages, position), daemon=True)
        self._thread.start()
        return turn

    def settle(self) -> None:
        """Wait until the last answer has ended and is saved; for programs that are about to exit."""
        if self._thread:
            self._thread.join()

    def again(self, version: Version, system: str | None = None, options: dict[str, Any] | None = None) -> Turn:
        """Ask the last question once more, in place of its answer; None keeps what it was asked with.

        Raises BadInput when there is none.
        """
        if not self.turns or self.running:
            raise BadInput("There is no answer to ask for again.")
        last = self.turns.pop()
        return self.ask(
            version,
            last.question,
            last.system if system is None else system,
            last.options if options is None else options,
        )

    def messages(self, system: str = "") -> list[dict[str, str]]:
        """The conversation so far as OpenAI messages; questions without any answer are left out."""
        said = [{"role": "system", "content": system}] if system.strip() else []
        for turn in self.turns:
            if turn.answer:
                said += [{"role": "user", "content": turn.question}, {"role": "assistant", "content": turn.answer}]
        return said

    def _answer(self, turn: Turn, version: Version, messages: list[dict[str, str]], position: int) -> None:
        started = time.time_ns()
        server: ModelServer | None = None
        state: State = "done"
        error = ""
        try:
            server = self._pool.open(version)
            _wait(server, turn)
            if not turn._stop.is_set():
                turn.update(prompt=render(server, messages), waiting="Reading the prompt")
                _stream(server, turn, messages)
        except Phi3Error as raised:
            state, error = "failed", str(raised)
        except Exception as raised:
            # Hanging up ends the stream with whatever error the client makes of it.
            state, error = "failed", "" if turn._stop.is_set() else _explain(raised, server, turn)
        if turn._stop.is_set():
            state, error = "stopped", ""
        turn.update(waiting="Saving the turn")
        try:
            self._save(turn, messages, position, started, state, error)
        except Exception as raised:
            # The answer stands on the page all the same; that it is not kept must be said, not swallowed.
            error = f"{error} This turn could not be saved: {raised}".strip()
        turn.update(state=state, error=error, waiting="")

    def _save(
        self, turn: Turn, messages: list[dict[str, str]], position: int, started: int, state: State, error: str
    ) -> None:
        import mlflow
        from mlflow.entities import SpanStatus, SpanStatusCode

        home = experiment(self._settings, keys.CONVERSATIONS)
        span = mlflow.start_span_no_context(
            "chat",
            span_type="CHAT_MODEL",
            inputs={"messages": messages, "model": turn.ref, **turn.options},
            experiment_id=home,
            metadata={"mlflow.trace.session": self.id, "mlflow.trace.user": getpass.getuser()},
            tags={keys.VERSION: turn.ref, "phi3.position": str(position)},
            start_time_ns=started,
        )
        usage = {"input_tokens": turn.prompt_tokens, "output_tokens": turn.completion_tokens}
        usage["total_tokens"] = sum(usage.values())
        span.set_attribute("mlflow.chat.tokenUsage", usage)
        code = SpanStatusCode.ERROR if state == "failed" else SpanStatusCode.OK
        outputs = asdict(turn) | {"state": state, "error": error, "waiting": ""}
        span.end(outputs=outputs, status=SpanStatus(code, error))


def render(server: ModelServer, messages: list[dict[str, str]]) -> str:
    """The prompt that these messages become by the model's own chat template. Raises ServerError."""
    return str(_post(server, "/apply-template", {"messages": messages})["prompt"])


def load(settings: Settings, pool: Pool, id: str) -> Conversation:
    """A conversation by its id: the live one, else read from its traces. Raises NotFound or BadInput."""
    if not re.fullmatch(r"[0-9a-f]{32}", id):
        raise BadInput("This is not a conversation's address. Start a new one.")
    with _live_lock:
        if id in _live:
            _live.move_to_end(id)
            return _live[id]
    found = Conversation(settings, pool, id)
    home = experiment(settings, keys.CONVERSATIONS)
    with errors(settings):
        traces = client(settings).search_traces(
            locations=[home],
            filter_string=f"metadata.`mlflow.trace.session` = '{id}'",
            order_by=["timestamp_ms ASC"],
            max_results=500,
            flush=True,
        )
    if not traces:
        raise NotFound("This conversation is not in the store (any more). Start a new one.")
    # A question asked again has the same position: the later answer stands.
    by_position = {int(trace.info.tags.get("phi3.position", at)): _turn(trace) for at, trace in enumerate(traces)}
    found.turns = [by_position[position] for position in sorted(by_position)]
    return keep(found)


def keep(conversation: Conversation) -> Conversation:
    """Hold a conversation in memory, so that a reloaded page finds it with its running answer."""
    with _live_lock:
        _live[conversation.id] = conversation
        for old in [id for id, held in _live.items() if not held.running][: max(0, len(_live) - _KEPT)]:
            del _live[old]
    return conversation


def _turn(trace: Trace) -> Turn:
    saved = dict(trace.data.spans[0].outputs or {})
    known = {name: saved[name] for name in Turn.__dataclass_fields__ if name in saved}
    return Turn(**{**known, "state": saved.get("state", "done")})


# ---------------------------------------------------------------- the answer


def _wait(server: ModelServer, turn: Turn) -> None:
    words = {"starting": "Starting the model server", "loading": "Loading the model"}
    while (status := server.status()).state != "ready" and not turn._stop.is_set():
        if status.state == "failed":
            raise ServerError(f"{turn.ref} could not be opened. {status.reason}")
        turn.update(waiting=f"{words[status.state]} ({status.seconds:.0f} s)")
        time.sleep(0.05)


def _stream(server: ModelServer, turn: Turn, messages: list[dict[str, str]]) -> None:
    from openai import OpenAI

    openai = OpenAI(base_url=f"{server.url}/v1", api_key=server.key, max_retries=0, timeout=600)
    own = ("top_k", "repetition_penalty")  # not OpenAI's: the client sends them as extra_body
    request: dict[str, Any] = {name: value for name, value in turn.options.items() if name not in own}
    request |= {"model": turn.ref, "messages": messages, "stream": True, "stream_options": {"include_usage": True}}
    request["extra_body"] = {name: turn.options[name] for name in own if name in turn.options}
    asked, first, ended = time.perf_counter(), 0.0, 0.0
    try:
        with openai.chat.completions.create(**request) as stream:
            turn._hang_up = partial(_shut, stream.response)
            for chunk in stream:
                if turn._stop.is_set():
                    break
                if chunk.choices and chunk.choices[0].delta.content:
                    ended = time.perf_counter()
                    first = first or ended
                    turn.update(answer=turn.answer + chunk.choices[0].delta.content, waiting="")
                    turn.completion_tokens += 1  # so far; the server's own count comes last
                if chunk.choices and chunk.choices[0].finish_reason:
                    turn.finish_reason = chunk.choices[0].finish_reason
                if chunk.usage:
                    turn.prompt_tokens = chunk.usage.prompt_tokens
                    turn.completion_tokens = chunk.usage.completion_tokens
    finally:  # an answer that was stopped or broke off has its figures too
        turn.first_token_ms = (first - asked) * 1000 if first else 0.0
        if turn.completion_tokens > 1 and ended > first:
            turn.tokens_per_second = (turn.completion_tokens - 1) / (ended - first)
    if not turn.finish_reason and not turn._stop.is_set():
        raise ServerError("The answer broke off.")


def _shut(response: Any) -> None:
    """Hang up from another thread: closing the response would not wake the one that reads it."""
    network = response.extensions.get("network_stream")
    connection = network.get_extra_info("socket") if network else None
    if connection is not None:
        with contextlib.suppress(OSError):
            connection.shutdown(socket.SHUT_RDWR)


def _explain(error: Exception, server: ModelServer | None, turn: Turn) -> str:
    """An error of the openai client in a sentence: the server's own, or what became of its process."""
    body = getattr(error, "body", None)
    if isinstance(body, dict) and body.get("message"):
        return str(body["message"])
    if server is not None:
        deadline = time.monotonic() + 2  # a process that was just killed takes a moment to be seen dead
        while server.alive() and time.monotonic() < deadline:
            time.sleep(0.05)
        if not server.alive():
            when = "in mid-answer" if turn.answer else "before it answered"
            return f"The model server died {when}. {server.status().reason} Your conversation is kept: try again."
    return f"The answer broke off: {error}"


def _post(server: ModelServer, path: str, body: dict[str, Any]) -> dict[str, Any]:
    request = urllib.request.Request(
        server.url + path,
        data=json.dumps(body).encode(),
        headers={"Authorization": f"Bearer {server.key}", "Content-Type": "application/json"},
    )
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            found: dict[str, Any] = json.load(answer)
            return found
    except urllib.error.HTTPError as error:
        raise ServerError(str(json.load(error)["error"]["message"])) from error
