"""Which versions no other one beats."""

from __future__ import annotations

from datetime import UTC, datetime

from phi3core import tags
from phi3core.registry import trade_off
from phi3core.registry.models import Version


def version(number: int, **metrics: float) -> Version:
    return Version("phi3", number, "None", (), "", {}, datetime.now(UTC), "", "", "READY", metrics)


def test_those_that_another_one_beats_in_both_are_not_on_the_front() -> None:
    listed = [
        version(1, size_bytes=540, parity_kl=0.0),
        version(2, size_bytes=86, parity_kl=0.38),
        version(3, size_bytes=114, parity_kl=0.21),
        version(4, size_bytes=120, parity_kl=0.33),
        version(5, size_bytes=100),
    ]

    points = trade_off.find_points(listed, tags.SIZE_METRIC, tags.PARITY_KL)

    assert [(point.version.version, point.best) for point in points] == [(2, True), (3, True), (4, False), (1, True)]


def test_more_is_better_for_speed_and_for_scores_of_others() -> None:
    listed = [version(1, tokens_per_second=200, score=0.5), version(2, tokens_per_second=100, score=0.4)]

    points = trade_off.find_points(listed, tags.TOKENS_PER_SECOND, "score")

    assert [(point.version.version, point.best) for point in points] == [(2, False), (1, True)]


def test_two_alike_are_both_on_the_front() -> None:
    listed = [version(number, size_bytes=86, parity_kl=0.38) for number in (1, 2)]

    assert [point.best for point in trade_off.find_points(listed, tags.SIZE_METRIC, tags.PARITY_KL)] == [True, True]


def test_only_metrics_that_two_versions_have_are_traded_and_the_divergence_comes_first() -> None:
    listed = [version(n, build_seconds=1, size_bytes=1, zeta=1, parity_same_top=1, parity_kl=1) for n in (1, 2)]

    assert trade_off.qualities([*listed, version(3, other=1)]) == [tags.PARITY_KL, tags.PARITY_SAME_TOP, "zeta"]
    assert trade_off.qualities(listed[:1]) == []


def test_what_a_benchmark_came_to_is_traded_before_other_metrics_and_its_error_is_not() -> None:
    names = {"benchmark/hellaswag-20/acc_norm": 0.4, "benchmark/hellaswag-20/acc_norm_stderr": 0.1, "alpha": 1.0}
    listed = [version(number, **names, size_bytes=number) for number in (1, 2)]

    assert trade_off.qualities(listed) == ["benchmark/hellaswag-20/acc_norm", "alpha"]
    points = trade_off.find_points(listed, tags.SIZE_METRIC, "benchmark/hellaswag-20/acc_norm")
    assert [(point.version.version, point.best) for point in points] == [(1, True), (2, False)]
