"""A conversation to export, and reading it back as an admin."""

from __future__ import annotations

from phi3core.access.roles import Person
from phi3core.chat import import_export
from phi3core.chat.conversation import Conversation
from phi3core.engine.interface import Token
from phi3core.settings import Settings
from phi3core.traces.turn import Turn


def counting(settings: Settings) -> Conversation:
    """Two turns, with an alternative to the second, and a failed one; the first alternative is selected."""
    one = Turn("One?", "phi3/1", "Be brief.", {"temperature": 0.5}, answer="Uno.", state="done", when=1_000, user="ada")
    two = Turn(
        "Two? 😀\n# no heading", "phi3/2", "Be brief.", parent=one.id, answer="Dos.", state="done", when=2_000,
        user="ada", seed=7, thumb=False, comment="Meh.", rated_by="bob", tokens=[Token("Dos", -0.5, (("Dos", -0.5),))],
        prompt_tokens=5, completion_tokens=2, tokens_per_second=50.0, schema={"type": "object"},
        asked_ref="phi3/Production",
    )  # fmt: skip
    beside = Turn("Zwei?", "phi3/2", parent=one.id, state="failed", error="It died.", when=3_000, user="ada")
    conversation = Conversation(settings, None, turns=[one, two, beside])  # type: ignore[arg-type]
    conversation.set_title("Counting")
    conversation.select(two)
    return conversation


def read(settings: Settings, name: str, text: str | bytes) -> list[Conversation]:
    data = text.encode() if isinstance(text, str) else text
    return import_export.import_file(settings, None, name, data, Person("ada", "admin"))  # type: ignore[arg-type]
