"""How far an evaluation is, as its run's tags tell it, which any program may write."""

from __future__ import annotations

import json

import pytest

from phi3core import tags
from phi3core.evaluation.pulse import progress_of

TOLD = {"done": 1, "total": 2, "host": "a", "by": "ada@example.org", "when": 3}


@pytest.mark.parametrize("odd", ["", "[]", "{}", json.dumps(TOLD | {"done": float("inf")}), "[" * 100_000])
def test_progress_that_can_be_none_is_left_out(odd: str) -> None:
    assert progress_of({tags.PROGRESS: odd}) is None
    assert progress_of({tags.PROGRESS: json.dumps(TOLD)}) is not None
