"""Where two answers part, and how likely each model thought either way to go on."""

from __future__ import annotations

import math

import pytest

from phi3core.engine.interface import Token
from phi3core.evaluation.parting import Likelihood, find_parting
from phi3core.traces.turn import Turn
from tests.support.rounds import answer


def told(ref: str, *tokens: tuple[str, float, dict[str, float]], text: str = "") -> Turn:
    """An answer with its tokens: what each is, how likely it was, and what else was."""
    made = [
        Token(piece, math.log(share), ((piece, math.log(share)), *((o, math.log(s)) for o, s in others.items())))
        for piece, share, others in tokens
    ]
    return answer(ref, text or "".join(piece for piece, _, _ in tokens), tokens=made)


def test_the_first_token_where_they_part_and_what_each_thought_of_both() -> None:
    one = told("phi3/1", ("It", 0.9, {}), (" is", 0.8, {}), (" Madrid", 0.6, {" Rome": 0.3}), (".", 1, {}))
    two = told("phi3/2", ("It", 0.9, {}), (" is", 0.8, {}), (" Rome", 0.5, {" Oslo": 0.2}), ("!", 1, {}))
    parting = find_parting(one, two)
    assert parting is not None
    assert (parting.before, parting.tokens) == ("It is", (" Madrid", " Rome"))
    (ours, theirs), (also_ours, also_theirs) = parting.likelihoods
    assert (ours, theirs) == (Likelihood(pytest.approx(0.6)), Likelihood(pytest.approx(0.3)))
    assert also_ours == Likelihood(pytest.approx(0.2), exact=False)  # below all that the model tells
    assert also_theirs == Likelihood(pytest.approx(0.5))


def test_a_word_that_another_tokenizer_parts_elsewhere_is_not_guessed_at() -> None:
    one = told("phi3/1", ("Bar", 0.6, {"Va": 0.3}), ("celona", 0.9, {}))
    two = told("other/1", ("Vale", 0.5, {"B": 0.2}), ("ncia", 0.9, {}))
    parting = find_parting(one, two)
    assert parting is not None
    assert parting.tokens == ("Bar", "Vale")
    assert parting.likelihoods[0] == (Likelihood(pytest.approx(0.6)), None)
    assert parting.likelihoods[1] == (None, Likelihood(pytest.approx(0.5)))


def test_a_model_that_tells_no_probabilities_is_compared_by_words() -> None:
    one = told("phi3/1", ("It", 0.9, {}), (" is", 0.9, {}), (" Madrid", 0.6, {" Rome": 0.3}))
    parting = find_parting(one, answer("endpoint:x", "It is Rome, I think."))
    assert parting is not None
    assert (parting.before, parting.tokens) == ("It is", (" Madrid", " Rome,"))
    assert parting.likelihoods[1] == (None, None)
    assert parting.likelihoods[0][0] == Likelihood(pytest.approx(0.6))


def test_an_answer_that_ends_where_the_other_goes_on() -> None:
    one = told("phi3/1", ("Yes", 0.9, {}), (" indeed", 0.4, {".": 0.3}))
    parting = find_parting(one, told("phi3/2", ("Yes", 0.9, {})))
    assert parting is not None
    assert (parting.before, parting.tokens) == ("Yes", (" indeed", ""))
    assert parting.likelihoods[0] == (Likelihood(pytest.approx(0.4)), None)


@pytest.mark.parametrize(
    ("one", "two", "before"),
    [
        ("", "Yes", ""),
        ("日本語", "日本人", ""),
        ("a b c", "a b d", "a b"),
        ("x\n\ny", "x\n\nz", "x"),
        ("Yes", "No", ""),
    ],
)
def test_every_two_texts_part_somewhere(one: str, two: str, before: str) -> None:
    parting = find_parting(answer("phi3/1", one), answer("phi3/2", two))
    assert parting is not None
    assert parting.before == before
    assert one.startswith(parting.before + parting.tokens[0])
    assert two.startswith(parting.before + parting.tokens[1])
    assert parting.tokens[0] != parting.tokens[1]


def test_the_same_answers_do_not_part() -> None:
    assert find_parting(answer("phi3/1"), answer("phi3/2")) is None
