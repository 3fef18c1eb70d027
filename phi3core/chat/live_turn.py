"""A turn whose answer is coming: one thread writes it, others follow it or stop it.

The data are a plain `Turn`, which stays when this handle is gone. Knows neither servers nor conversations.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any, Literal

from phi3core.clean_text import clean
from phi3core.engine.interface import Token
from phi3core.timestamps import now_ms
from phi3core.traces.turn import Turn


@dataclass(frozen=True)
class Outcome:
    """How an answer ended. error: a sentence that says why it failed.

    context_full: because the context is full. refused: because of what was asked, which would be refused again.
    """

    state: Literal["done", "stopped", "failed"]
    error: str = ""
    context_full: bool = False
    refused: bool = False


class LiveTurn:
    """The handle of a running turn. waiting: what its answer is waiting for, in words; empty while it is not.

    lenient: what the model does not take is left out, and the turn says so; else such a turn fails.
    """

    def __init__(self, turn: Turn, waiting: str = "", lenient: bool = False) -> None:
        self.turn = turn
        self.waiting = waiting
        self.lenient = lenient
        self._changed = threading.Condition()
        self._changes = 0
        self._stop = threading.Event()
        self._hang_up: Callable[[], None] = lambda: None

    # ------------------------------------------------------------ following and stopping

    @property
    def stopping(self) -> bool:
        """Whether `stop` was called."""
        return self._stop.is_set()

    def stop(self) -> None:
        """End the answer where it is, even before its first token; what came so far is kept."""
        self._stop.set()
        self._hang_up()

    def when_stopped(self, hang_up: Callable[[], None]) -> None:
        """Set what `stop` calls, from its own thread; it is called at once if the turn was stopped already."""
        self._hang_up = hang_up
        if self._stop.is_set():
            hang_up()

    def follow(self, every: float = 0.05) -> Iterator[Turn]:
        """Yield the turn whenever it has changed, at most every so many seconds, until it has ended."""
        last = -1
        while True:
            with self._changed:
                while self._changes == last and self.turn.state == "running":
                    self._changed.wait(1)
                last, ended = self._changes, self.turn.state != "running"
            yield self.turn
            if ended:
                return
            time.sleep(every)

    def wait(self) -> Turn:
        """Wait until the turn has ended, and return it."""
        with self._changed:
            self._changed.wait_for(lambda: self.turn.state != "running")
        return self.turn

    # ------------------------------------------------------------ how it is asked

    def set_waiting(self, waiting: str) -> None:
        with self._changed:
            self.waiting = waiting
            self._wake()

    def set_prompt(self, prompt: str, waiting: str) -> None:
        """Set the prompt as the model reads it; empty where it is not known."""
        with self._changed:
            self.turn.prompt, self.waiting = prompt, waiting
            self._wake()

    def set_request(self, options: dict[str, Any], seed: int | None, schema: dict[str, Any] | None) -> None:
        """Set what the model is asked with, where it does not take all that the turn was to be asked with."""
        with self._changed:
            self.turn.options, self.turn.seed, self.turn.schema = options, seed, schema
            self._wake()

    def drop_seed(self) -> None:
        """Ask without the seed that was drawn, which the model would refuse."""
        with self._changed:
            self.turn.seed = None
            self._wake()

    def add_note(self, note: str) -> None:
        """Add a sentence that the reader must know about how it was asked."""
        with self._changed:
            self.turn.note = f"{self.turn.note} {note}".strip()
            self._wake()

    # ------------------------------------------------------------ what comes back

    def append(self, text: str) -> None:
        """Add a piece of the answer, which counts as one token until the server tells its own count."""
        with self._changed:
            self.turn.answer += text
            self.turn.completion_tokens += 1
            self.waiting = ""
            self._wake()

    def append_tokens(self, tokens: Iterable[Token]) -> None:
        """Add the probabilities of tokens; a text follows, or the end, which wakes the followers."""
        self.turn.tokens.extend(tokens)

    def set_finish_reason(self, reason: str) -> None:
        self.turn.finish_reason = reason

    def set_counts(self, prompt_tokens: int, completion_tokens: int, cached_tokens: int = 0) -> None:
        """Set the server's counts of tokens; 0 where it tells none."""
        turn = self.turn
        turn.prompt_tokens, turn.completion_tokens, turn.cached_tokens = prompt_tokens, completion_tokens, cached_tokens

    def set_speed(self, first_token_ms: float, tokens_per_second: float) -> None:
        """Set how fast it came; 0 where that is not known."""
        self.turn.first_token_ms, self.turn.tokens_per_second = first_token_ms, tokens_per_second

    def set_memory(self, memory: int) -> None:
        """Set the bytes that its model server has."""
        self.turn.memory = memory

    # ------------------------------------------------------------ its end

    def end_answer(self) -> None:
        """No more text comes: measure the time it took, and make the text one that can be stored."""
        with self._changed:
            self.turn.answer, self.waiting = clean(self.turn.answer), ""
            self.turn.took_ms = float(now_ms() - self.turn.when)
            self._wake()

    def ended(self, outcome: Outcome) -> Turn:
        """A copy of the turn as it is once it has ended so."""
        return replace(self.turn, state=outcome.state, error=outcome.error, full=outcome.context_full)

    def finish(self, outcome: Outcome) -> None:
        """End the turn: followers stop, and nothing is written to it any more."""
        with self._changed:
            self.turn.error, self.turn.full = outcome.error, outcome.context_full
            self.turn.state = outcome.state
            self._wake()

    def _wake(self) -> None:
        """Wake the followers; the caller holds the lock."""
        self._changes += 1
        self._changed.notify_all()
