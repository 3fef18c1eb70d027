"""What a stranger sends is harmless in the log."""

from __future__ import annotations

import io
import logging
from collections.abc import Iterator

import pytest

from phi3core.log_records import clean_log_records


@pytest.fixture
def log() -> Iterator[io.StringIO]:
    """What the logger “stranger” writes."""
    before, text = logging.getLogRecordFactory(), io.StringIO()
    clean_log_records()
    handler = logging.StreamHandler(text)
    handler.setFormatter(logging.Formatter("%(levelname)s %(message)s"))
    logger = logging.getLogger("stranger")
    logger.addHandler(handler)
    yield text
    logger.removeHandler(handler)
    logging.setLogRecordFactory(before)


@pytest.mark.parametrize(
    "sent", ["\x1b[2J\x1b[31mall is well", "\x9b2J", "a\x00b", "a\x08\x08b", "\u202egnp.exe", "\x7f"]
)
def test_no_control_character_reaches_the_log(log: io.StringIO, sent: str) -> None:
    logging.getLogger("stranger").warning("Refused: %s", sent)
    assert all(letter.isprintable() for letter in log.getvalue().rstrip("\n"))
    assert log.getvalue().startswith("WARNING Refused: ")


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r", "\u2028"])
def test_no_line_is_forged(log: io.StringIO, end: str) -> None:
    logging.getLogger("stranger").warning("Refused: %s", f"x{end}ERROR the disk is full")
    assert not [line for line in log.getvalue().splitlines() if line.startswith("ERROR")]


def test_a_traceback_stays_readable(log: io.StringIO) -> None:
    try:
        raise ValueError("odd")
    except ValueError:
        logging.getLogger("stranger").exception("It failed")
    assert log.getvalue().splitlines()[:2] == ["ERROR It failed", "Traceback (most recent call last):"]
