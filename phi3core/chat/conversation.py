"""A live conversation: asked in the background, and followed from any page that shows it.

An answer goes on when the page that asked for it is reloaded or closed, because it belongs to the conversation and
not to the page. How an answer is had is in `answer`, how it is kept in `history`, which conversations are in memory in
`live_conversations`.
"""

from __future__ import annotations

import secrets
import threading
import uuid
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from phi3core.access import roles
from phi3core.access.login import load_login
from phi3core.access.privacy import may_read
from phi3core.access.roles import Person
from phi3core.clean_text import clean, one_line
from phi3core.errors import BadInput, Forbidden
from phi3core.serving.pool import Pool
from phi3core.settings import Settings
from phi3core.traces import outbox
from phi3core.traces.titles import TITLE_LENGTH, default_title
from phi3core.traces.turn import Origin, Turn

from . import history
from .answer import answer
from .live_turn import LiveTurn
from .supported_options import check_options
from .target import Target, model_id
from .tree import Tree, copy_turns


class Conversation(Tree):
    """A tree of turns under one id. Ask through `ask`; only one answer runs at a time.

    tree: every turn by its id, in the order they were asked. user: who asks, unless `ask` is told. origin: the
    conversation that this one branched from or repeats. live: the turn that was asked last in this process, while its
    answer comes and after.
    """

    def __init__(
        self,
        settings: Settings,
        pool: Pool,
        id: str = "",
        user: str = "",
        turns: Iterable[Turn] = (),
        origin: Origin | None = None,
        title: str = "",
    ) -> None:
        super().__init__(turns)
        self.id = id or uuid.uuid4().hex
        self.user = user or roles.local_person(settings).name
        self.origin = origin
        self.live: LiveTurn | None = None
        self._settings, self._pool = settings, pool
        self._title = title
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._deleted = False

    # ------------------------------------------------------------ what it is

    @property
    def title(self) -> str:
        """As it was named, else the start of its first question; empty before there is one."""
        first = next(iter(self.tree.values()), None)
        return self._title or (default_title(first.question) if first else "")

    @property
    def author(self) -> str:
        """Who asked its first question; empty before there is one."""
        return next((turn.user for turn in [*self.tree.values()]), "")

    @property
    def saved(self) -> bool:
        """Whether its turns are kept in the store; otherwise they are gone with this process."""
        return self._settings.tracing

    def may_write(self, user: str) -> bool:
        """Whether a person goes on with it: its author does; others read it, and branch.

        Where people do not sign in, a name is only what a user calls himself: everybody goes on with everything.
        """
        return not load_login(self._settings) or self.author.casefold() in ("", user.casefold())

    def may_read(self, person: Person | None = None) -> bool:
        """Whether a person reads it: everybody does, unless conversations are private; see `access.privacy`."""
        return not self.tree or may_read(self._settings, self.author, person)

    # ------------------------------------------------------------ asking

    def ask(
        self,
        target: Target,
        question: str,
        system: str = "",
        options: dict[str, Any] | None = None,
        *,
        parent: Turn | str | None = None,
        raw: bool = False,
        schema: dict[str, Any] | None = None,
        forget: int | None = None,
        asked_ref: str = "",
        user: str = "",
        seed: int | None = None,
        lenient: bool = False,
    ) -> LiveTurn:
        """Ask a version or an endpoint; the answer comes in the background, into the turn that is returned.

        Args:
            options: generation options under OpenAI's names; those that are None are left out.
            parent: the turn that it follows; None for the end of the path, "" for a new beginning.
            raw: send the question as the whole prompt.
            schema: the answer must be JSON, ``{}`` for any object, else a JSON schema.
            forget: how many of the oldest turns are left out of what is sent; None for as many as the turn before.
            asked_ref: the reference as the user chose it, such as ``phi3/Production``.
            seed: the one that is used where the options name none; None for one that is drawn.
            lenient: leave out what the model does not take, and have the turn say so; else such a turn fails.

        Raises:
            BadInput: the question is empty, or another answer is running.
            Forbidden: another person began the conversation.
        """
        turn = Turn(
            clean(question), target.ref, clean(system), check_options(options), user=user or self.user,
            asked_ref=asked_ref, raw=raw, schema=clean(schema), model_id=model_id(target),
        )  # fmt: skip
        turn.seed = turn.options.get("seed", seed)
        return self._begin(turn, target, parent, forget, lenient)

    def ask_again(
        self,
        target: Target,
        system: str | None = None,
        options: dict[str, Any] | None = None,
        *,
        turn: Turn | None = None,
        question: str | None = None,
        forget: int | None = None,
        asked_ref: str = "",
        user: str = "",
    ) -> LiveTurn:
        """Ask a turn once more, as its sibling: with another question, or with `forget` where it did not fit.

        Args:
            turn: None for the last of the path.
            system, options, question, forget: None for what the turn was asked with.

        Raises:
            BadInput: there is no turn, or an answer is running.
        """
        last = turn or next(reversed(self.path), None)
        if last is None:
            raise BadInput("There is no answer to ask for again.")
        return self.ask(
            target,
            last.question if question is None else question,
            last.system if system is None else system,
            last.options if options is None else options,
            parent=last.parent,
            raw=last.raw,
            schema=last.schema,
            forget=last.forgot if forget is None else forget,
            asked_ref=asked_ref or (last.asked_ref if target.ref == last.ref else ""),
            user=user,
        )

    def repeat(self, old: Turn, target: Target, messages: list[dict[str, str]], asked_ref: str = "") -> LiveTurn:
        """Ask another conversation's turn at the end of the path, with its own options and seed and these messages."""
        turn = Turn(
            old.question, target.ref, old.system, dict(old.options), user=self.user, asked_ref=asked_ref, raw=old.raw,
            schema=old.schema, seed=old.seed, model_id=model_id(target), copy_of=old.id, sent=messages,
        )  # fmt: skip
        # It can't leave out by hand what this version does not take.
        return self._begin(turn, target, None, old.forgot, lenient=True)

    def stop(self, person: Person | None = None) -> None:
        """End the answer that is coming, if any; what came so far is kept.

        Raises Forbidden for a person, by default the user of this machine, who is neither its author nor an admin.
        """
        person = person or roles.local_person(self._settings)
        if not person.may("admin") and not self.may_write(person.name):
            raise Forbidden(f"Only {self.author} may stop this answer, or an admin.")
        self._stop()

    def _stop(self) -> None:
        if self.live is not None and self.running:
            self.live.stop()

    def branch(self, turn: Turn, user: str = "") -> Conversation:
        """A new conversation that begins with a copy of the path up to a turn, saved.

        Args:
            user: the author of the new conversation and of the copies in it.

        Raises:
            BadInput: the turn's answer is still coming.
        """
        if turn.state == "running":
            raise BadInput("This answer is still coming: wait for it, or stop it, then branch.")
        made = self.derive(Origin("branch", self.id, turn.id), self._title, user)
        made.adopt(replace(copy, user=user or copy.user) for copy in copy_turns(self.path_to(turn)))
        return made

    def derive(self, origin: Origin, title: str = "", user: str = "") -> Conversation:
        """A new, empty conversation that comes from this one."""
        title = one_line(title, TITLE_LENGTH)
        return Conversation(self._settings, self._pool, user=user or self.user, origin=origin, title=title)

    def settle(self, seconds: float = 10) -> None:
        """Wait until the last answer has ended and is sent, or waits safely on disk; for programs about to exit."""
        if self._thread:
            self._thread.join()
        history.flush(self._settings, seconds)

    # ------------------------------------------------------------ keeping

    def rate(self, turn: Turn, thumb: bool | None, comment: str = "", person: Person | None = None) -> None:
        """Rate an answer; a later rating replaces an earlier one.

        Args:
            thumb: up or down; None takes the rating back.

        Raises:
            Forbidden: the person is a viewer.
            BadInput: the answer is still coming.
        """
        roles.require(person or roles.local_person(self._settings), "reviewer", "rating an answer")
        if turn.state == "running":
            raise BadInput("This answer is still coming: wait for it, then rate it.")
        turn.thumb, turn.comment = thumb, clean(comment.strip())
        turn.rated_by = person.name if person else self.user
        history.rate(self._settings, self.id, turn, person)

    def set_title(self, title: str) -> None:
        """Give it another title in this process; `history.rename` does so in the store."""
        self._title = one_line(title, TITLE_LENGTH)

    def mark_deleted(self) -> None:
        """Stop its answer, and save nothing of it any more."""
        self._deleted = True
        self._stop()

    def adopt(self, turns: Iterable[Turn], origin: Origin | None = None, title: str = "") -> None:
        """Add turns that have ended elsewhere, and save them; for branches and imports."""
        taken = [*turns]
        self.origin, self._title = origin or self.origin, title or self._title
        self.tree |= {turn.id: turn for turn in taken}
        self._leaf = self._latest_below("")
        for turn in taken:
            self._save(turn, self.sent_for(turn), sync=turn is taken[-1])

    # ------------------------------------------------------------ inside

    def _begin(
        self, turn: Turn, target: Target, parent: Turn | str | None, forget: int | None, lenient: bool = False
    ) -> LiveTurn:
        if not turn.question.strip():
            raise BadInput("The message is empty: write something for the model to answer.")
        if not self.may_write(turn.user):
            raise Forbidden(f"Only {self.author} writes into this conversation: branch it to go on from here.")
        with self._lock:
            if self.running:
                raise BadInput("An answer is still coming: wait for it, or stop it.")
            turn.parent = self.locate(parent)
            turn.forgot = 0 if turn.raw else self.count_forgotten(turn.parent, forget)
            if turn.seed is None:
                turn.seed = turn.options.get("seed", secrets.randbelow(2**31))
            sent = self.sent_for(turn)
            # Before the turn can be found running.
            self.live = live = LiveTurn(turn, waiting="Opening the version", lenient=lenient)
            self.tree[turn.id] = turn
            self._leaf = turn.id
            self._thread = threading.Thread(target=self._answer, args=(live, target, sent), daemon=True)
            self._thread.start()
        return live

    def _answer(self, live: LiveTurn, target: Target, messages: list[dict[str, str]]) -> None:
        draft = history.draft(self._settings, self.id, live.turn, messages, self.origin, self._title)
        outcome = answer(self._pool, live, target, messages, self.id)
        live.end_answer()
        try:
            self._save(live.ended(outcome), messages)
        except Exception as raised:
            # The answer stands on the page all the same; that it is not kept must be said, not swallowed.
            outcome = replace(outcome, error=f"{outcome.error} This turn could not be saved: {raised}".strip())
        outbox.discard(draft)
        live.finish(outcome)

    def _save(self, turn: Turn, messages: list[dict[str, str]], sync: bool = True) -> None:
        if not self._deleted:
            history.save(self._settings, self.id, turn, messages, self.origin, self._title, sync)
