"""The memory for keys or values of many sequences: addresses at first, memory where it is written to."""

from __future__ import annotations

import mmap
import sys
from typing import Any

import numpy as np

# Linux refuses a mapping that is larger than memory and swap, written to or not, unless it is told this. Python has no
# name for it; the number is that of x86 and ARM.
_NO_RESERVE = getattr(mmap, "MAP_NORESERVE", 0x4000 if sys.platform == "linux" else 0)
_TRIMMED = 256  # tokens: less is not worth the calls, and an answer's place is soon written to again


class RoomRefused(Exception):
    """The system gives no addresses for the keys and values of so many sequences."""


class Slots:
    """Keys and values of every layer, in a slot for each sequence. Raises RoomRefused.

    layers: float32[slots, heads, tokens, size] each, in contiguous memory.
    """

    def __init__(self, layers: int, shape: tuple[int, int, int, int]) -> None:
        self._buffers = [Buffer(shape) for _ in range(layers)]
        self.layers = [buffer.rows for buffer in self._buffers]
        self._written = np.zeros(shape[0], np.int64)  # tokens that each slot holds memory for

    def note_written(self, first: int, end: int, lengths: np.ndarray[Any, Any]) -> None:
        """These slots are about to be written to, up to so many tokens each."""
        np.maximum(self._written[first:end], lengths, out=self._written[first:end])

    def copy(self, source: int, target: int, length: int) -> None:
        """Bring the first tokens of one slot into another."""
        for rows in self.layers:
            rows[target, :, :length] = rows[source, :, :length]
        self._written[target] = max(self._written[target], length)

    def exchange(self, one: int, length: int, other: int, others: int) -> None:
        """Bring the first `length` tokens of one slot into the other, and the other's first `others` into the one."""
        for rows in self.layers:
            kept = rows[other, :, :others].copy()
            rows[other, :, :length] = rows[one, :, :length]
            rows[one, :, :others] = kept
        self._written[[one, other]] = np.maximum(self._written[[one, other]], (others, length))
        self.trim(one, others)
        self.trim(other, length)

    def trim(self, slot: int, length: int) -> None:
        """Let the system have what a slot holds behind its first tokens, where that is much."""
        if self._written[slot] - length >= _TRIMMED:
            for buffer in self._buffers:
                buffer.trim(slot, length)
            self._written[slot] = length

    def give_back(self, slot: int) -> None:
        """Let the system have the memory of a slot; it reads as zeros."""
        for buffer in self._buffers:
            buffer.give_back(slot)
        self._written[slot] = 0


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
        if hasattr(mmap, "MADV_DONTNEED"):
            self._memory.madvise(mmap.MADV_DONTNEED, slot * self._stride, self._stride)

    def trim(self, slot: int, length: int) -> None:
        if hasattr(mmap, "MADV_DONTNEED"):
            _, heads, room, size = self.rows.shape
            for head in range(heads):
                begin = slot * self._stride + head * room * size * 4
                first = begin + -(-length * size * 4 // mmap.PAGESIZE) * mmap.PAGESIZE
                if first < begin + room * size * 4:
                    self._memory.madvise(mmap.MADV_DONTNEED, first, begin + room * size * 4 - first)
