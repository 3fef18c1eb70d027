"""What a model server counts of its answers."""

from __future__ import annotations

import contextlib

import openai
from prometheus_client.parser import text_string_to_metric_families

from tests.support.fakes import FakeEngine, until
from tests.support.serving import HELLO, http


def read(url: str) -> dict[str, float]:
    """Every sample by its name and the value of its label that is no version."""
    found = {}
    for family in text_string_to_metric_families(http.get(f"{url}/metrics").text):
        for sample in family.samples:
            labels = [value for name, value in sample.labels.items() if name not in ("version", "le")]
            if "le" not in sample.labels:
                assert sample.labels["version"] == "fake/1"
                found[" ".join([sample.name, *labels])] = sample.value
    return found


def grown(before: dict[str, float], after: dict[str, float]) -> dict[str, float]:
    return {name: value - before[name] for name, value in after.items() if value != before[name]}


def test_an_answer_is_counted_with_its_tokens_and_their_times(client: openai.OpenAI, url: str) -> None:
    before = read(url)

    answer = client.chat.completions.create(model="fake/1", messages=HELLO)

    assert answer.usage is not None
    until(lambda: read(url)["phi3_answers_running"] == 0)
    change = grown(before, read(url))
    times = {name: change.pop(name) for name in list(change) if name.endswith(("_sum", "_created"))}
    written = answer.usage.completion_tokens
    assert change == {
        "phi3_answers_total done": 1,
        "phi3_tokens_total prompt": answer.usage.prompt_tokens,
        "phi3_tokens_total answer": written,
        "phi3_first_token_seconds_count": 1,
        "phi3_token_interval_seconds_count": change["phi3_token_interval_seconds_count"],
    }
    assert change["phi3_token_interval_seconds_count"] <= written
    assert times["phi3_first_token_seconds_sum"] > 0


def test_an_answer_that_was_given_up_and_one_that_failed_are_counted_as_such(
    client: openai.OpenAI, url: str, engine: FakeEngine
) -> None:
    before = read(url)
    engine.words, engine.pause = ("on",) * 50, 0.02
    stream = client.chat.completions.create(model="fake/1", messages=HELLO, stream=True)
    next(iter(stream))
    stream.close()
    until(lambda: grown(before, read(url)).get("phi3_answers_total cancelled") == 1)
    engine.pause, engine.fail_at = 0, 1
    with contextlib.suppress(openai.APIError):
        client.chat.completions.create(model="fake/1", messages=HELLO)

    until(lambda: grown(before, read(url)).get("phi3_answers_total failed") == 1)
    assert "phi3_answers_total done" not in grown(before, read(url))
