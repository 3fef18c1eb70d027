"""Conversations that were saved, and what their page shows of them."""

from __future__ import annotations

import re
import time
from typing import Any

from streamlit.testing.v1 import AppTest

from phi3core.chat import history
from phi3core.chat.conversation import Conversation
from phi3core.settings import Settings
from phi3core.traces.turn import Turn
from tests.app.servers import FakePool

NASTY = "And **Rome**? ![x](https://evil.example/?q=1) :material/home: <b>"


def talk(
    settings: Settings, *said: tuple[str, str], ref: str = "phi3/1", ago: float = 0, title: str = "", **options: Any
) -> str:
    """A saved conversation that is no longer live, and its id. ago: minutes since its last turn."""
    made = Conversation(settings, FakePool(), user="ada")  # type: ignore[arg-type]
    now, turns, parent = time.time_ns() // 1_000_000 - int(ago * 60_000), list[Turn](), ""
    for at, (question, answer) in enumerate(said):
        turn = Turn(question, ref, answer=answer, state="done", parent=parent, user="ada", when=now + at, seed=3)
        turn.completion_tokens, turn.tokens_per_second, turn.asked_ref = len(answer.split()), 120.0, ref
        turn.options = options
        turns.append(turn)
        parent = turn.id
    made._title = title
    made.adopt(turns)
    assert history.flush(settings)
    return made.id


def rows(at: AppTest) -> list[str]:
    """The titles in the list, top to bottom, as a reader sees them."""
    return [shown(link.label) for link in at.page_link if link.page == "chat" and "c=" in link.proto.query_string]


def shown(markdown: str) -> str:
    """Escaped Markdown as it is drawn."""
    return re.sub(r"\\(.)", r"\1", markdown).replace("\u2060", "").replace("\u00a0", " ")


def tick(id: str) -> str:
    return f"conversations_pick_{id}"
