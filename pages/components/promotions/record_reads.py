"""What is read of the record for some seconds: pages of it by a filter, and all of one model's. All raise Phi3Error."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import datetime

from pages.components.shared import reads, ui
from phi3core.promotion.record import search
from phi3core.promotion.record.model import Record
from phi3core.promotion.record.search import Page
from phi3core.settings import Settings

_FRESH = 5.0  # seconds: every press of a button draws the page anew
_LABEL = "Reading the record …"


@dataclass(frozen=True)
class Filter:
    """Which records are asked for; empty means everything. since, until: when they were opened, both included."""

    model: str = ""
    version: int | None = None
    action: str = ""
    status: str = ""
    user: str = ""
    since: datetime | None = None
    until: datetime | None = None
    text: str = ""


def page(wanted: Filter, token: str | None = None, limit: int = 50) -> Page:
    """A page of the records that the filter shows, newest first. token: of the page, as the one before it gave it."""
    return reads.read(_LABEL, search_page, ui.config(), wanted, token, limit, max_age=_FRESH)


def search_page(config: Settings, wanted: Filter, token: str | None, limit: int) -> Page:
    """As `page`, and asks the store each time."""
    return search.page(config, **asdict(wanted), limit=limit, token=token)


def of_model(model: str) -> list[Record]:
    """All records of a model, newest first."""
    return reads.read(_LABEL, search.of_model, ui.config(), model, max_age=_FRESH)


def state() -> str:
    """Whether there is a record: as `search.state` says it."""
    return reads.read(_LABEL, search.state, ui.config(), max_age=_FRESH)
