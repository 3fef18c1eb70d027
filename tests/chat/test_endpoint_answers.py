"""Endpoints elsewhere that are asked, and hanging up on a server that keeps silent."""

from __future__ import annotations

import dataclasses
import http.server
import json
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from phi3core.chat.context_window import count_tokens
from phi3core.chat.conversation import Conversation
from phi3core.chat.live_turn import LiveTurn
from phi3core.chat.stream import stream_answer
from phi3core.chat.target import find_moved_version
from phi3core.endpoints.config import Endpoint
from phi3core.engine.interface import ALL_OPTIONS
from phi3core.registry.models import Version
from phi3core.settings import Settings
from phi3core.traces.turn import Turn
from tests.app.servers import FakePool
from tests.chat.asking import WORDS, ended
from tests.support import fakes
from tests.support.serving import serving

# ---------------------------------------------------------------- endpoints


@pytest.fixture
def endpoint(pool: FakePool, version: Version) -> Endpoint:
    """A model server of this app, named as an endpoint elsewhere."""
    server = pool.open(version)
    fakes.until(lambda: server.status().state == "ready")
    return Endpoint("mine", "openai", f"{server.url}/v1", model="phi3/1", key=server.key)


def test_an_endpoint_that_speaks_openais_protocol_answers_as_a_version_does(
    settings: Settings, talk: Conversation, pool: FakePool, engine: fakes.FakeEngine, version: Version,
    endpoint: Endpoint,
) -> None:  # fmt: skip
    ended(talk.ask(version, "One"))
    pool.opened.clear()
    turn = ended(talk.ask(endpoint, "Two", "Sys", {"temperature": 0.5, "top_k": 3}))
    assert (turn.state, turn.answer, turn.ref, turn.error) == ("done", "The capital is Madrid.", "endpoint:mine", "")
    assert (engine.asked[-1].temperature, engine.asked[-1].top_k, engine.asked[-1].seed) == (0.5, 3, turn.seed)
    assert engine.prompts[-1] == "<system>Sys<user>One<assistant>The capital is Madrid.<user>Two"
    assert turn.completion_tokens == len(WORDS)
    assert pool.opened == []
    assert count_tokens(talk, endpoint, "Sys", "Three")[1] == 200
    assert find_moved_version(settings, talk.asked_ref, talk.ref) is None
    assert ended(talk.ask(endpoint, "Raw", raw=True)).prompt == engine.prompts[-1] == "Raw"
    assert ended(talk.ask(endpoint, "x" * 300)).full


def test_an_endpoint_that_refuses_a_seed_is_asked_without_one_unless_the_user_chose_it(
    talk: Conversation, engine: fakes.FakeEngine, endpoint: Endpoint
) -> None:
    engine.supports = ALL_OPTIONS - {"seed"}
    with serving(lambda: engine, ("phi3/1",), strict=True) as url:
        strict = dataclasses.replace(endpoint, url=f"{url}/v1")
        turn = ended(talk.ask(strict, "Hello"))
        chosen = ended(talk.ask(strict, "Hello", options={"seed": 7}))

    assert (turn.state, turn.seed, turn.error) == ("done", None, "")
    assert (chosen.state, chosen.seed) == ("failed", 7)
    assert "This model does not support seed" in chosen.error


def test_an_endpoint_that_leaves_a_seed_out_leaves_none_on_the_turn_and_says_so_where_the_user_chose_it(
    talk: Conversation, engine: fakes.FakeEngine, endpoint: Endpoint
) -> None:
    engine.supports = ALL_OPTIONS - {"seed"}

    turn = ended(talk.ask(endpoint, "Hello"))
    chosen = ended(talk.ask(endpoint, "Hello", options={"seed": 7}))

    assert (turn.state, turn.seed, turn.note) == ("done", None, "")
    assert (chosen.state, chosen.note) == ("done", "Asked without seed, which this model does not take.")


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"key": "wrong-key"}, "mine refused the key (401). Check it in [endpoints.mine]."),
        ({"model": "other"}, "not served here"),
        ({"url": "http://127.0.0.1:9/v1"}, "mine can't be reached: "),
    ],
)
def test_an_endpoint_that_does_not_answer_is_told_without_its_key(
    talk: Conversation, endpoint: Endpoint, change: dict[str, str], told: str
) -> None:
    turn = ended(talk.ask(dataclasses.replace(endpoint, **change), "Hello"))
    assert turn.state == "failed"
    assert told in turn.error
    assert "wrong-key" not in turn.error
    assert endpoint.key not in turn.error


class _Scoring(http.server.BaseHTTPRequestHandler):
    """An MLflow model behind a scoring URL, or what redirects to another address."""

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.seen.append((self.path, body, self.headers.get("Authorization")))  # type: ignore[attr-defined]
        if self.path.startswith("/moved"):
            self.send_response(307)
            self.send_header("Location", "/elsewhere/v1/chat/completions")
            self.end_headers()
            return
        answer = json.dumps({"predictions": ["Madrid."]}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def scoring() -> Iterator[tuple[str, list[Any]]]:
    """The address of such a server, and what it was sent."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Scoring) as server:
        server.seen = []  # type: ignore[attr-defined]
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}", server.seen  # type: ignore[attr-defined]
        server.shutdown()


def test_a_scoring_endpoint_of_one_text_is_sent_the_last_question_alone(
    talk: Conversation, version: Version, scoring: tuple[str, list[Any]]
) -> None:
    url, seen = scoring
    endpoint = Endpoint("far", "mlflow", f"{url}/invocations", task="prompt")
    ended(talk.ask(version, "One"))
    turn = ended(talk.ask(endpoint, "Two", options={"temperature": 0.5}))
    assert (turn.state, turn.answer, turn.error) == ("done", "Madrid.", "")
    assert "was not sent" in turn.note
    assert turn.seed is None  # the user asked for none, and the model may make anything of it
    assert "Two" in str(seen[-1][1])
    assert "One" not in str(seen[-1][1])
    assert turn.first_token_ms > 0
    raw = ended(talk.ask(dataclasses.replace(endpoint, task="chat"), "Raw", raw=True))
    assert (raw.state, "messages only" in raw.error) == ("failed", True)


def test_a_key_does_not_follow_a_redirect(talk: Conversation, scoring: tuple[str, list[Any]]) -> None:
    url, seen = scoring
    endpoint = Endpoint("mine", "openai", f"{url}/moved/v1", model="m", key="a-key")
    turn = ended(talk.ask(endpoint, "Hello"))
    assert "mine redirects elsewhere, and the key is not sent on" in turn.error
    assert count_tokens(talk, endpoint) == (None, None)
    assert {path.split("/")[1] for path, _, _ in seen} == {"moved"}


# ---------------------------------------------------------------- stopping at once


def test_stopping_hangs_up_on_a_server_that_has_said_nothing_yet(settings: Settings, version: Version) -> None:
    """A server that takes the request and then keeps silent, not even an HTTP status, must not hold up a stop."""
    asked = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def keep_silent() -> None:
            connection, _ = listening.accept()
            connection.recv(10)
            asked.set()
            while connection.recv(65536):
                pass
            connection.close()

        threading.Thread(target=keep_silent, daemon=True).start()
        live = LiveTurn(Turn("Hello", "endpoint:mute"))
        url = f"http://127.0.0.1:{listening.getsockname()[1]}/v1"
        answer_again = lambda: stream_answer(url, "none", "mute", live, [{"role": "user", "content": "Hello"}])  # noqa: E731

        def run() -> None:
            with pytest.raises(Exception, match="."):
                answer_again()

        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        assert asked.wait(10)
        began = time.monotonic()
        live.stop()
        thread.join(5)
        assert not thread.is_alive()
        assert time.monotonic() - began < 2
