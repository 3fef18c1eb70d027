"""What is said of two models' predictions, by llama.cpp's definitions."""

from __future__ import annotations

import math

import numpy as np
import pytest

from phi3core.build.parity.statistics import Rows, compare_logits, join


def test_the_divergence_is_the_bases_expectation_of_the_difference_in_log_probability() -> None:
    base, compared = np.log(np.array([[0.5, 0.25, 0.25]])), np.log(np.array([[0.25, 0.5, 0.25]]))

    rows = compare_logits(base.astype(np.float32), compared.astype(np.float32), np.array([1]))

    assert rows.kl[0] == pytest.approx(0.5 * math.log(2) + 0.25 * math.log(0.5), abs=1e-6)
    assert rows.same_top[0] == 0
    assert math.exp(-rows.base_loss[0]) == pytest.approx(0.25)
    assert math.exp(-rows.loss[0]) == pytest.approx(0.5)


def test_logits_may_be_shifted_and_padded_without_any_effect() -> None:
    logits = np.random.default_rng(1).normal(size=(5, 40)).astype(np.float32)
    padded = np.concatenate([logits + 3, np.full((5, 8), -60, np.float32)], axis=1)

    rows = compare_logits(logits, padded, np.arange(5))

    assert rows.kl.max() < 1e-6
    assert rows.same_top.all()


def test_means_have_standard_errors_and_perplexities_are_their_exponentials() -> None:
    kl, loss = np.array([0.0, 0.2, 0.4]), np.array([1.0, 2.0, 3.0])

    found = Rows(kl, np.array([1.0, 1.0, 0.0]), loss - 0.5, loss).figures()

    assert (found.kl.value, found.kl.error) == (pytest.approx(0.2), pytest.approx(0.2 / math.sqrt(3)))
    assert found.kl.high == pytest.approx(0.2 + 1.96 * 0.2 / math.sqrt(3))
    assert (found.kl_median, found.kl_max) == (pytest.approx(0.2), pytest.approx(0.4))
    assert found.perplexity.value == pytest.approx(math.exp(2))
    assert found.ratio.value == pytest.approx(math.exp(0.5))
    assert found.ratio.error == pytest.approx(0), "both lose the same more at each token"
    assert found.delta_p.value == pytest.approx(np.mean(np.exp(-loss) - np.exp(0.5 - loss)))


def test_rows_of_passages_are_joined_in_order() -> None:
    one = Rows(*(np.array([float(n)]) for n in range(4)))

    assert join([one, one]).loss.tolist() == [3, 3]
