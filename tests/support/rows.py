"""Sequences of a decoder for tests, on a tiny model."""

from __future__ import annotations

from typing import Any

import numpy as np

from phi3core.engine.decoder import Decoder, Row

ROOM, VOCABULARY = 128, 288
TOKENS = np.random.default_rng(1).integers(7, 250, 400).astype(np.int32)


def begun(decoder: Decoder, *lengths: int, divide: int = 0) -> list[Row]:
    """Sequences of these lengths, no two with the same tokens."""
    rows = [decoder.row(divide) for _ in lengths]
    for at, (row, length) in enumerate(zip(rows, lengths, strict=True)):
        if length:
            row.append(TOKENS[at * 10 : at * 10 + length])
    return rows


def next_logits(*rows: Row, token: int = 9) -> list[np.ndarray[Any, Any]]:
    """After one token more, computed for all of them together; they are as they were then."""
    for row in rows:
        row.append_one(token)
    found = [row.logits() for row in rows]
    for row in rows:
        row.rewind(row.length - 1)
    return found
