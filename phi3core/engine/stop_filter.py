"""Cuts an answer at its stop sequences as it comes."""

from __future__ import annotations


class StopFilter:
    """Passes text on until a stop sequence, which is cut off; holds back what may become one."""

    def __init__(self, stops: tuple[str, ...]) -> None:
        self._stops, self.held, self.found = stops, "", False

    def push(self, text: str) -> str:
        """What can be shown of the text so far; `found` is set once a stop sequence ended it."""
        if not self._stops:
            return text
        self.held += text
        if at := [at for at in (self.held.find(stop) for stop in self._stops) if at >= 0]:
            self.found = True
            ready, self.held = self.held[: min(at)], ""
            return ready
        longest = max(len(stop) for stop in self._stops) - 1
        tails = (length for length in range(min(longest, len(self.held)), 0, -1) if self._may_become(length))
        length = next(tails, 0)
        ready, self.held = self.held[: len(self.held) - length], self.held[len(self.held) - length :]
        return ready

    def rest(self) -> str:
        """What was held back and became none."""
        rest, self.held = self.held, ""
        return rest

    def _may_become(self, length: int) -> bool:
        return any(stop.startswith(self.held[-length:]) for stop in self._stops)
