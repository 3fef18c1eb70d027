"""Evaluations of made-up versions over three prompts."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

from phi3core.evaluation.evaluate import evaluate
from phi3core.evaluation.results import Evaluation
from phi3core.settings import Settings
from tests.app.servers import FakePool
from tests.support import fakes

Engines = dict[str, fakes.FakeEngine]


def asked_of(engines: Engines) -> int:
    return sum(len(engine.asked) for engine in engines.values())


def run(settings: Settings, pool: FakePool, *refs: str, **more: Any) -> Evaluation:
    one_by_one = replace(settings, parallel=1)  # the made-up engine writes one answer at a time
    return evaluate(one_by_one, pool, "capitals", refs or ("phi3/1", "phi3/2"), **more)  # type: ignore[arg-type]


class JudgingEngine(fakes.FakeEngine):
    """Reads a judge's long questions."""

    context_length = 4000


def says(result: str, rationale: str = "It does.") -> tuple[str, ...]:
    """What a judge answers."""
    return (json.dumps({"rationale": rationale, "result": result}),)
