"""Drawing tokens, against a second implementation that sorts the whole vocabulary and takes its time."""

from __future__ import annotations

import math
from collections import Counter
from typing import Any

import numpy as np
import pytest

from phi3core.engine import sampling
from phi3core.engine.interface import Options
from phi3core.engine.sampling import Sampler, log_probabilities

Logits = np.ndarray[Any, Any]
PLAIN = Options(temperature=1, top_p=1, top_k=1000)
NO_PROMPT = np.empty(0, np.int32)
DRAWS = 20_000


def some_logits(size: int = 40, seed: int = 3) -> Logits:
    return (np.random.default_rng(seed).normal(size=size) * 2).astype(np.float32)


def softmax(logits: Logits) -> Logits:
    shifted = np.exp(logits.astype(np.float64) - float(logits.max()))
    return shifted / shifted.sum()


def expected(logits: Logits, options: Options) -> Logits:
    """What each token's share should be: temperature, min_p, the top_k likeliest, the fewest that reach top_p."""
    shares = softmax(logits / options.temperature)
    likely = [token for token in range(len(shares)) if shares[token] >= options.min_p * shares.max()]
    order = sorted(likely, key=lambda token: -shares[token])[: options.top_k if options.top_k > 0 else None]
    whole, reached, kept = sum(shares[token] for token in order), 0.0, []
    for token in order:
        kept.append(token)
        reached += shares[token] / whole
        if reached >= options.top_p:
            break
    result = np.zeros(len(shares))
    result[kept] = shares[kept] / shares[kept].sum()
    return result


def drawn(logits: Logits, options: Options, allowed: Logits | None = None, draws: int = DRAWS) -> Counter[int]:
    sampler = Sampler(options, NO_PROMPT, seed=1)
    return Counter(sampler.pick(logits.copy(), allowed) for _ in range(draws))


def tokens(options: Options, seed: int, count: int = 50) -> list[int]:
    sampler = Sampler(options, NO_PROMPT, seed)
    return [sampler.pick(some_logits(seed=step)) for step in range(count)]


# ---------------------------------------------------------------- greedy, seeds


def test_temperature_0_takes_the_likeliest_whatever_the_seed() -> None:
    greedy = PLAIN.but(temperature=0)

    assert tokens(greedy, 1) == tokens(greedy, 2) == [int(some_logits(seed=step).argmax()) for step in range(50)]


def test_of_equally_likely_tokens_greedy_takes_the_first() -> None:
    assert Sampler(PLAIN.but(temperature=0), NO_PROMPT, 1).pick(np.array([1, 5, 5, 2], np.float32)) == 1


@pytest.mark.parametrize("temperature", [1e-3, 1e-6, 1e-8, 1e-12, 1e-50])
def test_a_temperature_of_almost_0_is_almost_greedy(temperature: float) -> None:
    options = PLAIN.but(temperature=temperature)

    assert tokens(options, 1) == tokens(PLAIN.but(temperature=0), 1)


@pytest.mark.parametrize("temperature", [1e-6, 1e-12, 1e-50])
def test_between_two_equal_tokens_a_temperature_of_almost_0_takes_one_of_them(temperature: float) -> None:
    sampler = Sampler(PLAIN.but(temperature=temperature), NO_PROMPT, 1)

    assert {sampler.pick(np.array([20, 20, 3], np.float32)) for _ in range(50)} <= {0, 1}


def test_a_seed_draws_the_same_tokens_again_and_another_seed_others() -> None:
    assert tokens(PLAIN, 7) == tokens(PLAIN, 7) != tokens(PLAIN, 8)


def test_a_certain_token_takes_its_random_number_too() -> None:
    """So that answers which differ in one place stay comparable after it."""
    certain = np.array([100, 0, 0], np.float32)
    first, second = Sampler(PLAIN, NO_PROMPT, 1), Sampler(PLAIN, NO_PROMPT, 1)
    first.pick(certain.copy())
    second.pick(some_logits())

    assert [first.pick(some_logits()) for _ in range(20)] == [second.pick(some_logits()) for _ in range(20)]


@pytest.mark.parametrize("seed", [-(2**63), -7, 2**63 - 1])
def test_every_seed_of_64_bits_gives_its_own_answer_again(seed: int) -> None:
    assert tokens(PLAIN, seed) == tokens(PLAIN, seed) != tokens(PLAIN, seed ^ 1)


# ---------------------------------------------------------------- distributions


@pytest.mark.parametrize(
    "options",
    [
        PLAIN,
        PLAIN.but(temperature=0.3),
        PLAIN.but(temperature=2),
        PLAIN.but(top_k=3),
        PLAIN.but(top_k=1),
        PLAIN.but(top_p=0.5),
        PLAIN.but(top_p=0.9),
        PLAIN.but(top_p=1e-6),
        PLAIN.but(top_p=0),
        PLAIN.but(top_k=0),
        PLAIN.but(top_k=-1, top_p=0.7),
        PLAIN.but(min_p=0.2),
        PLAIN.but(min_p=1),
        PLAIN.but(min_p=0.05, temperature=2, top_k=6, top_p=0.9),
        PLAIN.but(top_k=5, top_p=0.8, temperature=1.5),
        Options(),
    ],
    ids=lambda options: f"t{options.temperature} k{options.top_k} p{options.top_p} m{options.min_p}",
)
def test_tokens_are_drawn_as_often_as_a_plain_softmax_says(options: Options) -> None:
    logits = some_logits()
    shares = expected(logits, options)

    counts = drawn(logits, options)

    assert set(counts) <= set(np.flatnonzero(shares).tolist())
    for token, share in enumerate(shares):
        spread = math.sqrt(max(share * (1 - share), 1e-9) / DRAWS)
        assert abs(counts[token] / DRAWS - share) <= 4.5 * spread + 1e-4, (token, share, counts[token])


def test_top_p_keeps_the_token_that_crosses_it() -> None:
    """Shares of 0.5, 0.3 and 0.2: the second is needed to reach 0.6, the third is not."""
    logits = np.log(np.array([0.5, 0.3, 0.2])).astype(np.float32)

    assert set(drawn(logits, PLAIN.but(top_p=0.6), draws=500)) == {0, 1}
    assert set(drawn(logits, PLAIN.but(top_p=0.4), draws=500)) == {0}


def test_top_k_beyond_the_vocabulary_means_all_of_it() -> None:
    assert set(drawn(np.zeros(4, np.float32), PLAIN.but(top_k=10**6), draws=500)) == {0, 1, 2, 3}


@pytest.mark.parametrize("top_k", [1, 50, 768])
@pytest.mark.parametrize("size", [1000, 7700])
def test_the_likeliest_of_many_tokens_are_found_by_columns_as_by_sorting_all(
    monkeypatch: pytest.MonkeyPatch, size: int, top_k: int
) -> None:
    options = Options(temperature=1.5, top_p=1, top_k=top_k)

    def drawn_of_many() -> list[int]:
        sampler = Sampler(options, NO_PROMPT, seed=4)
        return [sampler.pick(some_logits(size, seed=step)) for step in range(60)]

    found = drawn_of_many()
    monkeypatch.setattr(sampling, "_least_of_best", lambda *_: -math.inf)

    assert found == drawn_of_many()


def test_every_token_of_a_flat_distribution_can_come_first_and_last() -> None:
    assert set(drawn(np.zeros(3, np.float32), PLAIN.but(top_p=1), draws=500)) == {0, 1, 2}


# ---------------------------------------------------------------- masks


@pytest.mark.parametrize("temperature", [0, 0.2, 1, 2])
def test_a_masked_token_is_never_drawn(temperature: float) -> None:
    logits = some_logits()
    allowed = np.ones(len(logits), bool)
    allowed[np.argsort(-logits)[:10]] = False

    counts = drawn(logits, PLAIN.but(temperature=temperature), allowed, draws=2000)

    assert all(allowed[token] for token in counts)


@pytest.mark.parametrize("penalty", [0.5, 1.5])
def test_a_penalty_does_not_bring_an_impossible_token_back(penalty: float) -> None:
    logits = np.array([-np.inf, -np.inf, 1, 0], np.float32)
    options = PLAIN.but(repetition_penalty=penalty, presence_penalty=-2, frequency_penalty=-2)
    sampler = Sampler(options, np.array([0, 1, 2, 3]), 1)

    assert {sampler.pick(logits.copy()) for _ in range(200)} <= {2, 3}


def test_the_only_allowed_token_is_drawn_however_unlikely() -> None:
    logits = np.array([100, 50, -300], np.float32)

    assert Sampler(PLAIN, NO_PROMPT, 1).pick(logits, np.array([False, False, True])) == 2


# ---------------------------------------------------------------- penalties


def weighed(options: Options, logits: Logits, prompt: Logits, said: list[int]) -> Logits:
    """The logits after penalties, for a sampler that has said these tokens."""
    sampler = Sampler(options.but(temperature=0), prompt, 1)
    for token in said:
        only = np.full(len(logits), -np.inf, np.float32)
        only[token] = 0
        assert sampler.pick(only) == token
    changed = logits.copy()
    sampler.pick(changed)
    return changed


LOGITS = np.array([2, -2, 4, -4, 0], np.float32)


def test_the_repetition_penalty_counts_the_prompt_and_the_answer() -> None:
    changed = weighed(Options(repetition_penalty=2), LOGITS, np.array([0, 1, 1]), said=[3])

    assert changed.tolist() == [1, -4, 4, -8, 0]


def test_presence_and_frequency_count_the_answer_only() -> None:
    penalties = Options(presence_penalty=1, frequency_penalty=0.5)

    assert weighed(penalties, LOGITS, np.array([0, 1]), said=[]).tolist() == LOGITS.tolist()
    assert weighed(penalties, LOGITS, np.array([0, 1]), said=[2, 3, 3, 3]).tolist() == [2, -2, 2.5, -6.5, 0]


def test_a_negative_presence_penalty_makes_what_was_said_likelier() -> None:
    assert weighed(Options(presence_penalty=-2), LOGITS, NO_PROMPT, said=[4]).tolist() == [2, -2, 4, -4, 2]


def test_without_penalties_the_logits_stay_as_they_are() -> None:
    assert weighed(Options(), LOGITS, np.array([0, 1, 2]), said=[0, 0, 1]).tolist() == LOGITS.tolist()


def test_all_penalties_go_together() -> None:
    options = Options(repetition_penalty=2, presence_penalty=0.5, frequency_penalty=0.25)

    # 4 is in the prompt and was said twice; the repetition penalty counts it once.
    assert weighed(options, np.array([0, 0, 0, 0, 8], np.float32), np.array([4]), [4, 4]).tolist()[4] == 4 - 0.5 - 0.5


# ---------------------------------------------------------------- probabilities


def test_a_tokens_logarithm_is_that_of_the_softmax() -> None:
    logits = some_logits(1000)

    own, top = log_probabilities(logits, 17, 5)

    reference = np.log(softmax(logits))
    assert own == pytest.approx(reference[17], abs=1e-6)
    likeliest = np.argsort(-reference)[:5]
    assert [token for token, _ in top] == likeliest.tolist()
    assert [log for _, log in top] == pytest.approx(reference[likeliest].tolist(), abs=1e-6)


def test_all_probabilities_together_make_one() -> None:
    _, top = log_probabilities(some_logits(20), 0, 20)

    assert sum(math.exp(log) for _, log in top) == pytest.approx(1, abs=1e-6)


def test_no_alternatives_are_told_unless_asked_for() -> None:
    assert log_probabilities(some_logits(), 0, 0)[1] == []


def test_large_logits_do_not_overflow() -> None:
    own, ((token, log),) = log_probabilities(np.array([10_000, 9_999], np.float32), 0, 1)

    assert own == log == pytest.approx(math.log(1 / (1 + math.exp(-1))), abs=1e-6)
    assert token == 0


def test_probabilities_are_read_without_touching_the_logits() -> None:
    logits = some_logits()
    before = logits.copy()

    log_probabilities(logits, 3, 5)

    assert np.array_equal(logits, before)
