"""What stands before the pages: the names that are served, and the way back after a sign-in."""

from __future__ import annotations

import asyncio
import socket
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket

from phi3core.serving.gateway.front import SIGN_IN_FAILED, Front, send_at_once

NUMBER = b"\xed\xa0\x80\x00\x00\x00\x00\x00"
HOSTS = frozenset({"localhost", "play.example"})


async def page(_: Request) -> Response:
    return PlainTextResponse("a page")


async def leave(request: Request) -> Response:
    """As Streamlit: to the provider, or 400 where it does not answer."""
    if "down" in request.query_params:
        return PlainTextResponse("Authentication error", 400)
    return RedirectResponse("https://id.example/authorize", 302)


async def come_back(request: Request) -> Response:
    """As Streamlit: always to the first page, with somebody's cookie where it worked."""
    answer = RedirectResponse("/", 302)
    if "code" in request.query_params:
        answer.set_cookie("_streamlit_user", "vera")
    else:
        answer.delete_cookie("_streamlit_user")
    return answer


async def stream(socket: WebSocket) -> None:
    await socket.accept()
    await socket.close()


def readable(message: bytes) -> bool:
    """As Streamlit: text must be UTF-8, numbers may be anything."""
    try:
        message.removeprefix(NUMBER).decode()
    except UnicodeDecodeError:
        return False
    return True


ROUTES = [
    Route("/auth/login", leave),
    Route("/oauth2callback", come_back),
    WebSocketRoute("/_stcore/stream", stream),
    Route("/{path:path}", page),
]


def get(path: str, **headers: str) -> httpx.Response:
    transport = httpx.ASGITransport(Front(Starlette(routes=ROUTES), HOSTS, readable))  # type: ignore[arg-type]

    async def ask() -> httpx.Response:
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost:8501") as client:
            return await client.get(path, headers=headers)

    return asyncio.run(ask())


def there_and_back(page: str, back: str = "state=s&code=c") -> httpx.Response:
    """Sign in from a page of ours."""
    left = get("/auth/login?provider=p", Referer=f"http://localhost:8501{page}")
    assert left.headers["location"] == "https://id.example/authorize"
    return get(f"/oauth2callback?{back}", Cookie="; ".join(f"{n}={v}" for n, v in left.cookies.items()))


@pytest.mark.parametrize(
    "page", ["/", "/chat?c=0a&ref=phi3%2F2", "/registry?model=a%20b&version=3", "/a/b;c=d?x=%3B,%22"]
)
def test_who_signs_in_comes_back_to_the_page_that_was_asked_for(page: str) -> None:
    answer = there_and_back(page)
    assert (answer.status_code, answer.headers["location"]) == (302, page)
    assert "_streamlit_user=vera" in answer.headers["set-cookie"]
    assert SIGN_IN_FAILED not in answer.headers["set-cookie"]
    assert "phi3_wanted=; Path=/; Max-Age=0" in answer.headers["set-cookie"]


@pytest.mark.parametrize("back", ["state=s", "error=access_denied", "state=s&error=access_denied"])
def test_a_sign_in_that_came_to_nothing_goes_back_there_too_and_says_so(back: str) -> None:
    answer = there_and_back("/chat", back)
    assert answer.headers["location"] == "/chat"
    assert answer.cookies[SIGN_IN_FAILED] == "1"


def test_a_provider_that_does_not_answer_leaves_one_on_the_page_and_says_so() -> None:
    answer = get("/auth/login?down=1", Referer="http://localhost:8501/chat?c=0a")
    assert (answer.status_code, answer.headers["location"]) == (302, "/chat?c=0a")
    assert answer.cookies[SIGN_IN_FAILED] == "1"
    assert get("/auth/login?down=1").headers["location"] == "/"


def test_a_sign_out_ends_at_the_first_page_and_is_no_failure() -> None:
    answer = get("/oauth2callback", Cookie="phi3_wanted=%2Fchat")
    assert answer.headers["location"] == "/"
    assert SIGN_IN_FAILED not in answer.headers["set-cookie"]


@pytest.mark.parametrize(
    "referer",
    [
        "http://evil.example/chat",
        "http://localhost:1/chat",
        "http://localhost:8501//evil.example/",
        "http://localhost:8501/\\evil.example",
        f"http://localhost:8501/{'x' * 3000}",
        "",
    ],
)
def test_nobody_elses_page_is_remembered(referer: str) -> None:
    assert "phi3_wanted" not in get("/auth/login", Referer=referer).headers.get("set-cookie", "")


@pytest.mark.parametrize(
    "cookie", ["%2F%2Fevil.example", "https%3A%2F%2Fevil.example", "%2F%5Cevil.example", "%2Fa%0D%0AX-Bad%3A%201", ""]
)
def test_a_remembered_page_that_is_none_of_ours_is_not_gone_to(cookie: str) -> None:
    assert get("/oauth2callback?state=s", Cookie=f"phi3_wanted={cookie}").headers["location"] == "/"


@pytest.mark.parametrize("host", ["localhost", "localhost:8501", "PLAY.example"])
def test_names_that_are_known_are_served(host: str) -> None:
    assert get("/chat", Host=host).text == "a page"


@pytest.mark.parametrize("host", ["rebound.example", "localhost.evil.example", "10.0.0.7:8501", "[::1", ""])
def test_no_other_name_is_served_but_to_probes_and_to_v1_which_guards_itself(host: str) -> None:
    answer = get("/chat", Host=host)
    assert answer.status_code == 403
    assert "PHI3_HOSTS" in answer.text
    assert get("/_stcore/health", Host=host).status_code == 200
    assert get("/v1/models", Host=host).status_code == 200


@pytest.mark.parametrize(
    ("host", "origin", "opened"),
    [
        ("localhost:8501", "http://localhost:8501", True),
        ("play.example", "https://play.example", True),
        ("localhost:8501", "", True),  # no browser
        ("rebound.example:8501", "http://rebound.example:8501", False),
        ("localhost:8501", "http://localhost:3000", False),
        ("localhost:8501", "http://evil.example", False),
        ("localhost:8501", "null", False),
    ],
)
def test_only_our_own_pages_are_connected(host: str, origin: str, opened: bool) -> None:
    sent: list[Any] = []

    async def receive() -> dict[str, Any]:
        return {"type": "websocket.connect"}

    async def send(message: Any) -> None:
        sent.append(message["type"])

    headers = [(b"host", host.encode()), *([(b"origin", origin.encode())] if origin else [])]
    scope = {"type": "websocket", "path": "/_stcore/stream", "headers": headers, "subprotocols": []}
    asyncio.run(Front(Starlette(routes=ROUTES), HOSTS, readable)(scope, receive, send))  # type: ignore[arg-type]

    assert ("websocket.accept" in sent) == opened


# ---------------------------------------------------------------- what pages send


@pytest.mark.parametrize(
    ("sent", "read"),
    [
        (b"hi \xed\xa0\xbd there", "hi \ufffd there".encode()),  # as a browser writes the first half of an emoji
        (b"hi \xed\xb8\x80", "hi \ufffd".encode()),
        ("hi 😀".encode(), "hi 😀".encode()),
        (NUMBER + b" is no text", NUMBER + b" is no text"),
        (b"\xff", b"\xff"),  # what else is wrong is for Streamlit to refuse
    ],
)
def test_half_of_a_character_is_replaced_in_what_could_not_be_read(sent: bytes, read: bytes) -> None:
    came: list[Any] = []

    async def app(_: Any, receive: Any, __: Any) -> None:
        came.append(await receive())

    async def receive() -> dict[str, Any]:
        return {"type": "websocket.receive", "bytes": sent}

    scope = {"type": "websocket", "path": "/_stcore/stream", "headers": [(b"host", b"localhost")]}
    asyncio.run(Front(app, HOSTS, readable)(scope, receive, receive))  # type: ignore[arg-type]

    assert came == [{"type": "websocket.receive", "bytes": read}]


# ---------------------------------------------------------------- what is sent is sent at once


def test_what_is_sent_on_a_port_of_streamlits_is_sent_at_once() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening, socket.create_server(("127.0.0.1", 0)) as another:
        send_at_once(listening.getsockname()[1])

        sent = []
        for server in (listening, another):
            with socket.create_connection(server.getsockname()):
                accepted, _ = server.accept()
                with accepted:
                    sent.append(accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) != 0)
    assert sent == [True, False]
