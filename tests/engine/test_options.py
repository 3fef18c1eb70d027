"""Which values options take."""

from __future__ import annotations

import pytest

from phi3core.engine.interface import Options
from phi3core.errors import BadInput


def test_an_option_that_is_none_keeps_its_default() -> None:
    assert Options(max_tokens=7).but(max_tokens=None, top_p=0.5) == Options(max_tokens=7, top_p=0.5)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("max_tokens", 0),
        ("temperature", -0.1),
        ("temperature", 2.1),
        ("temperature", float("nan")),
        ("top_p", -0.1),
        ("top_p", 1.1),
        ("top_k", -2),
        ("min_p", -0.1),
        ("min_p", 1.1),
        ("min_p", float("nan")),
        ("repetition_penalty", 0),
        ("repetition_penalty", 2.5),
        ("stop", ("",)),
        ("stop", tuple("abcdefghijklmnopq")),
        ("presence_penalty", -2.1),
        ("presence_penalty", 2.1),
        ("frequency_penalty", -2.1),
        ("frequency_penalty", float("nan")),
        ("n", 0),
        ("n", 9),
        ("seed", -(2**63) - 1),
        ("seed", 2**63),
        ("seed", 10**30),
    ],
)
def test_an_option_out_of_range_is_refused_by_name(name: str, value: object) -> None:
    with pytest.raises(BadInput, match=f"^{name} must be "):
        Options().but(**{name: value})


@pytest.mark.parametrize("count", [-1, 21])
def test_a_number_of_alternatives_out_of_range_is_refused_by_openais_name(count: int) -> None:
    with pytest.raises(BadInput, match="^top_logprobs must be between 0 and 20"):
        Options().but(logprobs=count)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("temperature", 0),
        ("temperature", 2),
        ("top_p", 0),
        ("top_p", 1),
        ("top_k", -1),
        ("top_k", 0),
        ("min_p", 0),
        ("min_p", 1),
        ("stop", ()),
        ("stop", tuple("abcdefghijklmnop")),
        ("presence_penalty", -2),
        ("presence_penalty", 2),
        ("frequency_penalty", -2),
        ("frequency_penalty", 2),
        ("n", 1),
        ("n", 8),
        ("logprobs", 0),
        ("logprobs", 20),
        ("seed", -(2**63)),
        ("seed", -1),
        ("seed", 2**63 - 1),
    ],
)
def test_an_option_at_its_limit_is_accepted(name: str, value: object) -> None:
    assert getattr(Options().but(**{name: value}), name) == value
