"""A question and its answer as plain data.

Knows nothing of conversations, servers or stores. While its answer comes, `chat/live_turn.py` writes it.
"""

from __future__ import annotations

import uuid
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from phi3core.engine.interface import Token
from phi3core.timestamps import now_ms

State = Literal["running", "done", "stopped", "failed"]


@dataclass(frozen=True)
class Origin:
    """Where a conversation came from. kind: ``branch``, ``replay``, ``import`` or ``compare``.

    conversation and turn: the ids there, where they are known; of ``compare`` the comparison's id. compared: how many
    conversations that comparison has. blind: whether it hides from its author, too, whose answer is whose.
    """

    kind: str
    conversation: str = ""
    turn: str = ""
    compared: int = 0
    blind: bool = True


@dataclass
class Turn:
    """A question and its answer. Times are in milliseconds, speeds in tokens per second, memory in bytes.

    ref: the concrete version that answers, ``name/3``, or ``endpoint:NAME``; asked_ref: how it was asked for, such
    as ``name/Production``. options: what was asked for under OpenAI's names, None left out; seed: the one that was
    used, asked for or drawn. parent: the id of the turn before, empty for a first one. forgot: how many of the
    oldest turns before it were left out of what was sent. raw: the question is the whole prompt. schema: None for
    free text, ``{}`` for any JSON object, else the JSON schema that the answer follows. note: what the reader must
    know about how it was asked. full: it failed because the context is full. tokens: empty unless ``logprobs`` was
    asked for. thumb: True for up, False for down; comment: with it. when: its start, in milliseconds since 1970.
    model_id: MLflow's id of the logged model, ``m-…``. imported: it comes from a file, and only that says which version
    answered what. copy_of: the id of the turn that it copies or repeats. sent: the messages that were sent for it,
    where they do not follow from the turns before it: a repeated turn is asked with the recorded answers, and stands
    below the new ones. memory: what the model server had when it ended; 0 where that is not known.
    """

    question: str
    ref: str
    system: str = ""
    options: dict[str, Any] = field(default_factory=dict)
    id: str = field(default_factory=lambda: uuid.uuid4().hex)
    parent: str = ""
    user: str = ""
    asked_ref: str = ""
    when: int = field(default_factory=now_ms)
    raw: bool = False
    schema: dict[str, Any] | None = None
    seed: int | None = None
    forgot: int = 0
    note: str = ""
    answer: str = ""
    state: State = "running"
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
    imported: bool = False
    copy_of: str = ""
    sent: list[dict[str, str]] | None = None
    memory: int = 0

    @property
    def filled(self) -> bool:
        """Whether its answer ended because the context was full, with fewer tokens than were allowed."""
        allowed = int(self.options.get("max_tokens") or 0)
        return self.state == "done" and self.finish_reason == "length" and 0 < self.completion_tokens < allowed

    @property
    def trace_id(self) -> str:
        """The id of its MLflow trace; it follows from the turn's, so that a turn that is sent twice is stored once."""
        return f"tr-{self.id}"

    def plain(self) -> dict[str, Any]:
        """Everything as plain data; `from_plain` is its inverse."""
        return asdict(self)

    @classmethod
    def from_plain(cls, data: dict[str, Any]) -> Turn:
        """A turn that has ended, from `plain`; what is missing is as when new, what is not known is left out."""
        fields = {name: value for name, value in data.items() if name in cls.__dataclass_fields__}
        tokens = [Token(t["text"], t["logprob"], tuple((a, p) for a, p in t["top"])) for t in data.get("tokens") or []]
        return cls(**{"state": "done", **fields, "tokens": tokens})
