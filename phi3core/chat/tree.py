"""Turns as a tree: a question that is asked again, or edited, stands beside the first, so that nothing is lost.

Knows neither servers nor stores.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable

from phi3core.errors import NotFound
from phi3core.timestamps import now_ms
from phi3core.traces.turn import Turn


class Tree:
    """Every turn by its id, in the order they were asked, and the active path through them."""

    def __init__(self, turns: Iterable[Turn] = ()) -> None:
        self.tree = {turn.id: turn for turn in turns}
        self._leaf = self._latest_below("")

    @property
    def path(self) -> list[Turn]:
        """The active turns, root to leaf."""
        return self.path_to(self._leaf)

    @property
    def running(self) -> bool:
        return self.current is not None

    @property
    def current(self) -> Turn | None:
        """The turn whose answer is coming, on the active path or not."""
        return next((turn for turn in reversed([*self.tree.values()]) if turn.state == "running"), None)

    @property
    def asked_ref(self) -> str:
        """The reference that its last turn was asked by, such as ``phi3/Production``; empty when it has none."""
        return next((turn.asked_ref for turn in reversed(self.path)), "")

    @property
    def ref(self) -> str:
        """The concrete version or endpoint that answered its last turn; empty when it has none."""
        return next((turn.ref for turn in reversed(self.path)), "")

    def path_to(self, turn: Turn | str) -> list[Turn]:
        """The turns from the root to this one; empty for ""."""
        found: dict[str, Turn] = {}
        at = turn if isinstance(turn, str) else turn.id
        while at in self.tree and at not in found:
            found[at] = self.tree[at]
            at = found[at].parent
        return [*reversed(found.values())]

    def siblings(self, turn: Turn) -> list[Turn]:
        """The alternatives at the turn's place, itself among them, in the order they were asked."""
        return [other for other in [*self.tree.values()] if other.parent == turn.parent]

    @property
    def selected(self) -> str:
        """The id of the path's leaf where it is another than the turn asked last, which is the default; else empty."""
        return self._leaf if self._leaf != self._latest_below("") else ""

    def select(self, turn: Turn | str) -> None:
        """Make the path go through a turn, to the most recent leaf below it.

        Args:
            turn: the turn or its id; "" selects the turn asked last.

        Raises:
            NotFound: the turn is not in this conversation.
        """
        self._leaf = self._latest_below(self.locate(turn))

    def messages(self, system: str = "", parent: Turn | str | None = None, forget: int = 0) -> list[dict[str, str]]:
        """The turns of a path as OpenAI messages.

        Questions without any answer are left out, and raw prompts, which are no messages. A first turn may have been
        sent with messages before its question, which no turn holds.

        Args:
            parent: the last turn; None for the end of the active path.
            forget: how many of the oldest turns are left out.
        """
        messages = [{"role": "system", "content": system}] if system.strip() else []
        for turn in self.path_to(self._leaf if parent is None else parent)[max(forget, 0) :]:
            if turn.answer and not turn.raw:
                messages += [*_asked(turn), {"role": "assistant", "content": turn.answer}]
        return messages

    def sent_for(self, turn: Turn) -> list[dict[str, str]]:
        """The messages that are sent, or were sent, for a turn whose parent is in the tree."""
        if turn.sent is not None:
            return turn.sent
        question = {"role": "user", "content": turn.question}
        return [*self.messages(turn.system, turn.parent, turn.forgot), question]

    def remove(self, turn: Turn) -> None:
        """Take a turn out that no other follows."""
        del self.tree[turn.id]
        if self._leaf == turn.id:
            self._leaf = self._latest_below(turn.parent)

    def count_forgotten(self, parent: Turn | str | None = None, forget: int | None = None) -> int:
        """How many of the oldest turns are left out of what is sent for a turn that follows `parent`.

        Args:
            forget: the number that was chosen; None for as many as for the parent.
        """
        if forget is not None:
            return max(forget, 0)
        at = self.locate(parent)
        return self.tree[at].forgot if at else 0

    def locate(self, parent: Turn | str | None) -> str:
        """The id of a turn; None is the end of the path, "" before the first turn. Raises NotFound."""
        if parent is None:
            return self._leaf
        at = parent if isinstance(parent, str) else parent.id
        if at and at not in self.tree:
            raise NotFound("The turn is not in this conversation (any more).")
        return at

    def _latest_below(self, id: str) -> str:
        """The id of the most recently asked turn below this one (of all turns, for ""); its own where there is none."""
        below = {id} if id else None
        last = id
        for turn in [*self.tree.values()]:  # a turn comes after the one it follows
            if below is None or turn.parent in below:
                last = turn.id
                if below is not None:
                    below.add(turn.id)
        return last


def _asked(turn: Turn) -> list[dict[str, str]]:
    """The question, after what was sent before it where that is no turn's; without its system prompt."""
    if turn.parent or turn.sent is None:
        return [{"role": "user", "content": turn.question}]
    return turn.sent[1:] if turn.system and turn.sent[:1] == [{"role": "system", "content": turn.system}] else turn.sent


def copy_turns(turns: Iterable[Turn]) -> list[Turn]:
    """Copy turns under new ids, with the same parents among themselves; ratings stay with the originals."""
    turns = [*turns]
    ids = {turn.id: uuid.uuid4().hex for turn in turns}
    now = now_ms()
    return [
        Turn.from_plain(
            turn.plain()
            | {"id": ids[turn.id], "parent": ids.get(turn.parent, ""), "copy_of": turn.id, "when": now + at}
            | {"thumb": None, "comment": "", "rated_by": ""}
        )
        for at, turn in enumerate(turns)
    ]
