"""Many clients at once, of which some hang up at any moment: nothing is left of them, and nobody's answer changes.

PHI3_HANGUPS: how many requests are made.
"""

from __future__ import annotations

import os
import random
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import openai
import pytest

from phi3core.engine.interface import Options
from phi3core.engine.onnx import OnnxRuntime
from phi3core.engine.tokens import TokenEngine
from tests.support.fakes import until
from tests.support.serving import client_of, http, serving, wait_loaded

REQUESTS = int(os.environ.get("PHI3_HANGUPS", "48"))
CLIENTS = min(64, REQUESTS // 3)
PROMPTS = [f"{number} asks for something {'again ' * (number % 7)}" for number in range(6)]


@pytest.fixture(scope="module")
def served(tiny_onnx: Path) -> Iterator[tuple[TokenEngine, str]]:
    engine = TokenEngine(OnnxRuntime(tiny_onnx), Options())
    with serving(lambda: engine) as address:
        wait_loaded(address)
        yield engine, address


def asked(client: openai.OpenAI, number: int, hang_up_after: int = 1000) -> str | None:
    """The answer to one of the prompts, with an n of its own; None after hanging up."""
    texts = ["", "", ""]
    more = {"n": 1 + number % 3, "max_tokens": 12, "temperature": 1, "seed": number, "stream": True}
    stream = client.completions.create(model="fake/1", prompt=PROMPTS[number], **more)  # type: ignore[call-overload]
    for at, chunk in enumerate(stream):
        if at == hang_up_after:
            stream.close()
            return None
        texts[chunk.choices[0].index] += chunk.choices[0].text
    return "|".join(texts)


def test_whoever_hangs_up_leaves_nothing_behind(served: tuple[TokenEngine, str]) -> None:
    engine, url = served
    alone = [asked(client_of(url), number) for number in range(len(PROMPTS))]
    outcomes, numbers, lock = Counter[str](), iter(range(REQUESTS)), threading.Lock()

    def one_client(seed: int) -> None:
        chance, client = random.Random(seed), client_of(url)
        while True:
            with lock:
                if next(numbers, None) is None:
                    return
            number = chance.randrange(len(PROMPTS))
            hang_up_after = chance.choice([0, 1, 3, 8, 1000, 1000])
            try:
                answer = asked(client, number, hang_up_after)
            except openai.RateLimitError:
                outcome = "refused"
            else:
                outcome = "hung up" if answer is None else "same" if answer == alone[number] else "other"
            with lock:
                outcomes[outcome] += 1

    clients = [threading.Thread(target=one_client, args=(seed,)) for seed in range(CLIENTS)]
    for client in clients:
        client.start()
    for client in clients:
        client.join(120)

    assert not any(client.is_alive() for client in clients)
    assert outcomes["other"] == 0
    assert outcomes["same"]
    assert outcomes["hung up"]
    assert outcomes.total() == REQUESTS
    until(lambda: (health := http.get(f"{url}/health").json())["running"] + health["waiting"] == 0)
    assert engine._cache._running == []
    assert [asked(client_of(url), number) for number in range(len(PROMPTS))] == alone
