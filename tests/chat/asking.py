"""What tests of conversations have in common: words to answer with, and waiting for an answer's end."""

from __future__ import annotations

from phi3core.chat.live_turn import LiveTurn
from phi3core.traces.turn import Turn

WORDS = ("The", " capital", " is", " Madrid", ".")


def ended(live: LiveTurn) -> Turn:
    """The turn, once nothing more is written to it: neither on it nor in the store."""
    return live.wait()
