"""A question and its answer, as plain data that can be followed while it comes.

Knows nothing of conversations, servers or stores: chat.py hangs turns into a tree, answering.py fills one in,
conversations.py keeps them.
"""

from __future__ import annotations

import re
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")

State = Literal["running", "done", "stopped", "failed"]


@dataclass(frozen=True)
class Token:
    """One token of an answer: its text, the natural logarithm of its probability, the likeliest alternatives."""

    text: str
    logprob: float
    top: tuple[tuple[str, float], ...] = ()


@dataclass(frozen=True)
class Origin:
    """Where a conversation came from. kind: ``branch``, ``replay`` or ``import``.

    conversation and turn: the ids there, where they are known.
    """

    kind: str
    conversation: str = ""
    turn: str = ""


@dataclass
class Turn:
    """A question and its answer. Times are in milliseconds and tokens per second.

    ref: the concrete version that answers, ``name/3``, or ``endpoint:NAME``; asked_ref: how it was asked for, such
    as ``name/Production``. options: what was asked for under OpenAI's names, None left out; seed: the one that was
    used, asked for or drawn. parent: the id of the turn before, empty for a first one. forgot: how many of the
    oldest turns before it were left out of what was sent. raw: the question is the whole prompt. schema: None for
    free text, ``{}`` for any JSON object, else the JSON schema that the answer follows. note: what the reader must
    know about how it was asked. waiting: what the answer is waiting for, in words. full: it failed because the
    context is full. tokens: told where ``logprobs`` was asked for. thumb: up, down or none; comment: with it.
    when: its start, in milliseconds since 1970. model_id: MLflow's id of the logged model, ``m-…``. copy_of: the id of
    the turn that it copies or repeats. sent: the messages that were sent for it, where they are not what the turns
    before it tell: a repeated turn is asked with the recorded answers, and stands below the new ones.
    """

    question: str
    ref: str
    system: str = ""
    options: dict[str, Any] = field(default_factory=dict)
    id: str = field(default_factory=lambda: uuid.uuid4().hex)
    parent: str = ""
    user: str = ""
    asked_ref: str = ""
    when: int = field(default_factory=lambda: time.time_ns() // 1_000_000)
    raw: bool = False
    schema: dict[str, Any] | None = None
    seed: int | None = None
    forgot: int = 0
    note: str = ""
    answer: str = ""
    state: State = "running"
    waiting: str = ""
    error: str = ""
    full: bool = False
    finish_reason: str = ""
    prompt: str = ""
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cached_tokens: int = 0
    first_token_ms: float = 0.0
    tokens_per_second: float = 0.0
    took_ms: float = 0.0
    tokens: list[Token] = field(default_factory=list)
    thumb: bool | None = None
    comment: str = ""
    rated_by: str = ""
    model_id: str = ""
    copy_of: str = ""
    sent: list[dict[str, str]] | None = None

    def __post_init__(self) -> None:
        self._changed = threading.Condition()
        self._changes = 0
        self._stop = threading.Event()
        self._hang_up: Callable[[], None] = lambda: None

    @property
    def filled(self) -> bool:
        """Whether its answer ended because the context was full: before as many tokens as were allowed."""
        allowed = int(self.options.get("max_tokens") or 0)
        return self.state == "done" and self.finish_reason == "length" and 0 < self.completion_tokens < allowed

    @property
    def trace_id(self) -> str:
        """The id of its MLflow trace, known from the start, so that a turn that is sent twice is there once."""
        return f"tr-{self.id}"

    @property
    def stopping(self) -> bool:
        return self._stop.is_set()

    def stop(self) -> None:
        """End the answer where it is, even before its first token; what came so far is kept."""
        self._stop.set()
        self._hang_up()

    def when_stopped(self, hang_up: Callable[[], None]) -> None:
        """What `stop` is to call from its own thread; called at once if it was stopped already."""
        self._hang_up = hang_up
        if self._stop.is_set():
            hang_up()

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

    def plain(self) -> dict[str, Any]:
        """Everything lasting as plain data; `from_plain` is its inverse."""
        return {name: value for name, value in asdict(self).items() if name != "waiting"}

    @classmethod
    def from_plain(cls, data: dict[str, Any]) -> Turn:
        """A turn that has ended, from `plain` or from an older version of it: what is missing is as when new."""
        known = {name: value for name, value in data.items() if name in cls.__dataclass_fields__}
        tokens = [Token(t["text"], t["logprob"], tuple((a, p) for a, p in t["top"])) for t in data.get("tokens") or []]
        return cls(**{"state": "done", **known, "tokens": tokens, "waiting": ""})


def clean(value: Any) -> Any:
    """Text, or plain data with text in it, without halves of UTF-16 pairs: nothing could send or store those.

    Two halves that belong together, as a model may stream them, become their character.
    """
    if isinstance(value, str):
        if value.isascii():
            return value
        return value.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    if isinstance(value, dict):
        return {clean(name): clean(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [clean(item) for item in value]
    return value


def one_line(text: str, length: int) -> str:
    """The start of a text on one line, without control characters, cut at a word with an ellipsis."""
    words = " ".join(_CONTROL.sub(" ", clean(text[: 8 * length])).split())
    if len(words) <= length and len(text) <= 8 * length:
        return words
    cut = words[: length - 1]
    return (cut.rsplit(" ", 1)[0] if " " in cut[length // 2 :] else cut) + "…"


def without_control(text: str) -> str:
    """The text without control characters but newlines and tabs: some databases refuse NUL."""
    return _CONTROL.sub("\ufffd", clean(text))
