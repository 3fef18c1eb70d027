"""What the records of a request say of the files, and how these are now: an approval is of the files."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from phi3core.errors import NotFound, Phi3Error, StoreDown
from phi3core.promotion.files import LINE
from phi3core.promotion.record.model import Record
from phi3core.registry import artifacts, reader
from phi3core.settings import Settings


class Gone(str):
    """Why there are no such files any more, as a sentence."""


class Seen:
    """How files are now, each looked at once. quick: only where that takes no call of the store."""

    def __init__(
        self, settings: Settings, quick: bool = False, given: Mapping[str, artifacts.ArtifactState | str] | None = None
    ) -> None:
        self._settings, self._quick = settings, quick
        self._known = dict(given or {})

    def of(self, record: Record) -> artifacts.ArtifactState | str:
        """The state, or a sentence on why there is none."""
        if record.ref not in self._known:
            self._known[record.ref] = self._look(record)
        return self._known[record.ref]

    def _look(self, record: Record) -> artifacts.ArtifactState | str:
        try:
            if not self._quick:
                return artifacts.read_state(self._settings, reader.get_version(self._settings, record.ref))
            place = str(_line(record).get("place", ""))
            state = artifacts.read_local_state(self._settings, place, record.ref) if place else None
            return state or "The files are not on this machine and were not looked at for this list."
        except StoreDown:
            raise
        except NotFound as error:
            return Gone(error)
        except Phi3Error as error:
            return str(error)


def holds(record: Record, state: artifacts.ArtifactState | None) -> bool:
    """Whether the files are as the record says they were; where nobody could look, they may be."""
    if state is None:
        return True
    if state.digest:
        return state.digest == record.digest
    return bool(state.listing == _line(record).get("listing", state.listing))


def evidence(state: artifacts.ArtifactState) -> dict[str, Any]:
    return {"name": LINE, "met": True, "says": state.summary, "listing": state.listing, "place": state.uri}


def _line(record: Record) -> dict[str, Any]:
    return next((line for line in record.checks if line.get("name") == LINE), {})
