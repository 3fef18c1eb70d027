"""Conditions of measurements, made up."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

from phi3core.registry.conditions import Conditions

QUIET = Conditions("AMD EPYC <b>9R14</b>", 2, 2, 24_000_000_000, 0.03, datetime(2026, 11, 28, 14, 5, tzinfo=UTC))
BUSY = replace(QUIET, load=0.45)
