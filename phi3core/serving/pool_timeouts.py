"""When a pool acts by itself."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class PoolTimeouts:
    """When the pool acts by itself; all in seconds.

    poll: between two rounds of its thread, each of which sees what has died. health: between two health checks of a
    child that has loaded. hung: silence after which a child is ended. A custom model may hold the interpreter through
    a whole prediction, and a machine that swaps is slow; but a reader waits no longer than a minute for a word.
    restart: a process that dies again within this time is not started again. grace: a server that was used so recently
    is not stopped for its memory, because what opened it is about to ask.
    """

    poll: float = 0.5
    health: float = 5.0
    hung: float = 60.0
    restart: float = 300.0
    grace: float = 10.0
