"""What is logged, so that nothing in it draws in a terminal or passes for a line of its own."""

from __future__ import annotations

import logging

from .clean_text import without_control


class _Record(logging.LogRecord):
    """A message may quote an address or a header that anybody sent; a traceback is written by Python itself."""

    def getMessage(self) -> str:  # noqa: N802 (logging calls it so)
        return without_control(super().getMessage().replace("\r", "\n")).replace("\n", "\n    ")


def clean_log_records() -> None:
    """Have every logger of this process write messages without control characters, and indent their further lines."""
    logging.setLogRecordFactory(_Record)
