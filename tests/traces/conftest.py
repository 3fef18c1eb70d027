"""A store that can be away, and no sender that goes on after its test."""

from __future__ import annotations

from tests.support.saved_turns import no_senders_stay, store  # noqa: F401  (fixtures)
