"""Model servers that die, hang, crawl or fill the memory: what the client of an answer sees of it."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator

import openai
import psutil
import pytest

from phi3core.registry.models import Version
from phi3core.serving.handle import ModelServer
from phi3core.serving.pool import Pool, PoolTimeouts
from phi3core.settings import Settings
from tests.support import children
from tests.support.fakes import until
from tests.support.gateway import passing_on
from tests.support.serving import HELLO, client_of

HUNG = 1.5  # seconds of silence, instead of a minute


@pytest.fixture
def pool(settings: Settings) -> Iterator[Pool]:
    opened = Pool(settings, start_child=children.start, timeouts=PoolTimeouts(poll=0.05, health=0.2, hung=HUNG))
    yield opened
    opened.close()


@pytest.fixture
def client(settings: Settings, pool: Pool) -> Iterator[openai.OpenAI]:
    """The official client, at the app's /v1."""
    with passing_on(settings, pool) as (url, _):
        yield client_of(url)


def ready(pool: Pool, but: int = 0) -> ModelServer:
    """The one server that runs, once it has loaded. but: the pid of one that does not count any more."""
    (server,) = until(lambda: [server for server in pool.running() if server.pid != but])
    server.wait_ready(60)
    return server


# ---------------------------------------------------------------- dead


def test_an_answer_whose_server_is_killed_breaks_off_with_the_reason_and_the_next_is_answered(
    client: openai.OpenAI, pool: Pool, named: Callable[..., Version]
) -> None:
    named("talker", words=100, pause=0.02)
    stream = client.chat.completions.create(model="talker/1", messages=HELLO, stream=True)
    for _ in range(5):
        next(stream)
    killed = pool.running()[0].pid
    os.kill(killed, signal.SIGKILL)

    with pytest.raises(openai.APIError) as caught:
        list(stream)

    assert caught.value.message.startswith(
        "The model server of talker/1 died in mid-answer. Its process was killed (signal 9)."
    )
    assert ready(pool, but=killed).ref == "talker/1"
    answer = client.chat.completions.create(model="talker/1", messages=HELLO, max_tokens=2)
    assert answer.choices[0].message.content == " 0 1"


def test_an_answer_in_one_piece_whose_server_dies_is_an_error_with_its_last_words(
    client: openai.OpenAI, named: Callable[..., Version]
) -> None:
    named("mortal", words=10, pause=0.05, die_at=3)

    with pytest.raises(openai.InternalServerError) as caught:
        client.chat.completions.create(model="mortal/1", messages=HELLO)

    assert caught.value.status_code == 502
    assert "The model server of mortal/1 died before it answered. Its process was killed (signal 9)." in str(
        caught.value
    )
    assert "I am going to die" in str(caught.value)


def test_a_server_that_died_while_nobody_asked_is_opened_again_for_the_next_request(
    client: openai.OpenAI, pool: Pool, named: Callable[..., Version]
) -> None:
    named("talker", words=3)
    client.chat.completions.create(model="talker/1", messages=HELLO)
    killed = psutil.Process(pool.running()[0].pid)
    killed.kill()
    until(lambda: not killed.is_running() or killed.status() == psutil.STATUS_ZOMBIE)

    answer = client.chat.completions.create(model="talker/1", messages=HELLO)

    assert answer.choices[0].message.content == " 0 1 2"


# ---------------------------------------------------------------- hung


def test_a_server_that_hangs_is_ended_told_and_replaced(
    client: openai.OpenAI, pool: Pool, named: Callable[..., Version]
) -> None:
    named("talker", words=200, pause=0.05)
    stream = client.chat.completions.create(model="talker/1", messages=HELLO, stream=True)
    next(stream)
    (server,) = pool.running()
    os.kill(server.pid, signal.SIGSTOP)
    started = time.monotonic()

    with pytest.raises(openai.APIError) as caught:
        list(stream)

    assert HUNG <= time.monotonic() - started < HUNG + 12
    assert "died in mid-answer. It stopped answering: nothing for" in caught.value.message
    assert server.status().state == "failed"
    until(lambda: not psutil.pid_exists(server.pid), 5)  # gone for good, and waited for
    again = ready(pool, but=server.pid)
    assert again.status().detail.startswith("started again: It stopped answering")


# ---------------------------------------------------------------- slow


def test_many_who_wait_for_a_slow_one_are_all_answered(
    client: openai.OpenAI, pool: Pool, named: Callable[..., Version]
) -> None:
    named("slow", load_seconds=0.5)
    answers: list[str | None] = []

    def ask() -> None:
        answers.append(client.chat.completions.create(model="slow/1", messages=HELLO).choices[0].message.content)

    threads = [threading.Thread(target=ask) for _ in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)

    assert answers == [" 0 1 2"] * 12
    assert len(pool.servers()) == 1


# ---------------------------------------------------------------- out of memory


def test_a_model_that_fills_the_memory_says_so(client: openai.OpenAI, named: Callable[..., Version]) -> None:
    named("large", fail="memory")

    with pytest.raises(openai.InternalServerError, match="Memory ran out while large/1 was loading. Close other"):
        client.chat.completions.create(model="large/1", messages=HELLO)


def test_a_server_that_the_system_kills_while_it_loads_points_at_memory(
    client: openai.OpenAI, pool: Pool, named: Callable[..., Version]
) -> None:
    named("large", size=1_500_000_000, fail=9)

    with pytest.raises(openai.InternalServerError) as caught:
        client.chat.completions.create(model="large/1", messages=HELLO)

    assert (
        "Its process was killed (signal 9) while the model was loading. Most likely memory ran out: the model needs "
        "about 2.0 GB." in str(caught.value)
    )
    pool.tend()
    assert pool.running() == [], "loaded once more, it would fill the memory once more"
