from __future__ import annotations

from datetime import UTC, datetime

import pytest

from phi3core.text import bytes_in_words, join_words, plural, two_digits
from phi3core.timestamps import from_ms, now_ms, to_ms


def test_a_noun_fits_its_count() -> None:
    assert [f"{count} {plural(count, 'file')}" for count in (0, 1, 2)] == ["0 files", "1 file", "2 files"]


def test_a_small_number_keeps_two_digits() -> None:
    assert [two_digits(number) for number in (1600.4, 16.4, 9.64, 0.2815)] == ["1,600", "16", "9.6", "0.28"]


@pytest.mark.parametrize(
    ("items", "words"), [([], ""), (["a"], "a"), (["a", "b"], "a and b"), (["a", "b", "c"], "a, b and c")]
)
def test_a_list_reads_as_in_a_sentence(items: list[str], words: str) -> None:
    assert join_words(iter(items)) == words


def test_milliseconds_are_a_time_in_utc_and_back() -> None:
    when = datetime(2026, 11, 28, 9, 30, 15, 250_000, UTC)
    assert from_ms(to_ms(when)) == when
    assert to_ms(when.replace(microsecond=250_999)) == to_ms(when)
    assert abs(now_ms() - to_ms(datetime.now(UTC))) < 1000


@pytest.mark.parametrize(
    ("count", "words"),
    [
        (1, "1 byte"), (999, "999 bytes"), (378_112, "378 kB"), (1_000_000, "1.0 MB"), (3_440_000, "3.4 MB"),
        (117_000_000, "117 MB"), (2_722_861_056, "2.7 GB"),
    ],
)  # fmt: skip
def test_a_size_is_told_in_the_unit_that_suits_it(count: int, words: str) -> None:
    assert bytes_in_words(count) == words
