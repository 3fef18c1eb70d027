"""The memory for keys or values of many sequences: addresses at first, memory where it is written to."""

from __future__ import annotations

import mmap
import sys

import numpy as np

# Linux refuses a mapping that is larger than memory and swap, written to or not, unless it is told this. Python has no
# name for it; the number is that of x86 and ARM.
_NO_RESERVE = getattr(mmap, "MAP_NORESERVE", 0x4000 if sys.platform == "linux" else 0)


class RoomRefused(Exception):
    """The system gives no addresses for the keys and values of so many sequences."""


class Buffer:
    """Keys or values of one layer. rows: float32[slots, heads, tokens, size]. Raises RoomRefused."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        self._stride = int(np.prod(shape[1:])) * 4
        size = self._stride * shape[0]
        # Private, so that what is given back is gone; other systems than Linux keep it.
        flags = {"flags": mmap.MAP_PRIVATE | _NO_RESERVE} if hasattr(mmap, "MAP_PRIVATE") else {}
        try:
            self._memory = mmap.mmap(-1, size, **flags)
        except OSError as error:
            raise RoomRefused(f"{size / 1e9:,.1f} GB at once: {error.strerror}") from error
        self.rows = np.frombuffer(self._memory, np.float32).reshape(shape)
        if hasattr(mmap, "MADV_NOHUGEPAGE"):  # a large page for the first tokens of each head would hold thousands
            self._memory.madvise(mmap.MADV_NOHUGEPAGE)

    def give_back(self, slot: int) -> None:
        """Let the system have the memory of a slot; it reads as zeros."""
        if hasattr(mmap, "MADV_DONTNEED"):
            self._memory.madvise(mmap.MADV_DONTNEED, slot * self._stride, self._stride)
