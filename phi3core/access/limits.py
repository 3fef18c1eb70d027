"""How much a person, and each key, may ask of /v1: the [limits] of the secrets file.

[limits]
requests_per_minute = 600
running = 8                     # answers at a time
tokens_per_minute = 200000      # read and written

[limits.key]                    # of each key; a person's keys share the limits above
running = 4

0 stands for no limit. Knows nothing of requests; they are counted where they come in.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from phi3core.settings import Settings
from phi3core.validation import Table, validate

from .login import read_table

_Number = Annotated[int, Field(ge=0, description="a whole number, 0 for no limit")]


class Limit(Table):
    """What one person or key may ask for."""

    requests_per_minute: _Number = 0
    running: _Number = 0
    tokens_per_minute: _Number = 0


class Limits(Limit):
    """The [limits] table: of a person, with all keys together. key: of each key."""

    requests_per_minute: _Number = 600
    running: _Number = 8
    tokens_per_minute: _Number = 200_000
    key: Limit = Limit()


def read_limits(settings: Settings) -> Limits | None:
    """The limits as the file says them now; None where it has no such table. Raises BadInput."""
    table = read_table(settings, "limits")
    return validate(Limits, table, f"{settings.secrets}, [limits]") if table else None
