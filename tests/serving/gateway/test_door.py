"""What stands before the pages where people sign in: which sign-ins count, and what is closed before one."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.routing import Route

from phi3core.access import sessions
from phi3core.access.login import load_login
from phi3core.errors import ServerError
from phi3core.serving.gateway import door as door_module
from phi3core.serving.gateway.door import Door
from phi3core.settings import Settings
from tests.support.secrets import LOGIN

VERA = {"email": "vera@example.org", "email_verified": True}
CLOSED = (
    "/_stcore/upload_file/page/1", "/_stcore/metrics", "/_stcore/script-health-check", "/_stcore/bidi-components/a.js",
    "/media/0a.json", "/component/a/index.html", "/app/static/a.txt",
)  # fmt: skip
OPEN = ("/", "/chat", "/_stcore/health", "/_stcore/host-config", "/static/js/index.js", "/auth/login")
RELOAD = b"load yourself anew"
TOKENS = b'{"access_token": "an access token"}'
Ask = Callable[..., httpx.Response]


def signed(claims: dict[str, Any], parts: int = 0) -> dict[str, str]:
    """The cookies of a sign-in, as Streamlit sets them: of several parts where one could not hold it."""
    text = json.dumps(claims).encode().hex()
    if not parts:
        return {"_streamlit_user": f"ok-{text}", "_streamlit_user_tokens": f"ok-{TOKENS.hex()}"}
    size = -(-len(text) // parts)
    cut = {f"_streamlit_user_{n + 1}": f"ok-{text[n * size : (n + 1) * size]}" for n in range(parts)}
    return {"_streamlit_user": f"ok-chunks-{parts}", **cut}


def read(cookies: Any, name: str) -> bytes | None:
    """As Streamlit: what is rightly signed, put together."""
    main = cookies.get(name, "")
    if not main.startswith("ok-"):
        return None
    count = int(main.removeprefix("ok-chunks-")) if "chunks" in main else 0
    parts = [cookies.get(f"{name}_{n + 1}", "") for n in range(count)] or [main]
    return bytes.fromhex("".join(part.removeprefix("ok-") for part in parts))


@pytest.fixture
def ask(settings: Settings) -> Ask:
    """A request with these cookies. The app behind the door tells which of them came through."""
    settings.secrets.write_text(LOGIN + "session_hours = 2\ngroups_minutes = 10\n[roles]\ndefault = 'viewer'\n")
    load_login.cache_clear()

    async def tell(request: Request) -> Response:
        return JSONResponse(request.cookies)

    async def come_back(request: Request) -> Response:
        answer = RedirectResponse("/", 302)
        for name, value in signed(json.loads(request.query_params["claims"]), 2).items():
            answer.set_cookie(name, value, max_age=2592000, httponly=True)
        answer.set_cookie("other", "1", max_age=2592000)
        return answer

    app = Starlette(routes=[Route("/oauth2callback", come_back), Route("/{path:path}", tell, methods=["GET", "PUT"])])
    login = load_login(settings)
    assert login is not None
    door = Door(app, settings, login, read, RELOAD)

    def ask(path: str, cookies: dict[str, str] | None = None, method: str = "GET") -> httpx.Response:
        async def send() -> httpx.Response:
            transport = httpx.ASGITransport(door)  # type: ignore[arg-type]
            async with httpx.AsyncClient(transport=transport, base_url="http://play.example") as client:
                header = "; ".join(f"{name}={value}" for name, value in (cookies or {}).items())
                return await client.request(method, path, headers={"Cookie": header} if header else {})

        return asyncio.run(send())

    return ask


def sign_in(ask: Ask, claims: dict[str, Any] = VERA, cookies: dict[str, str] | None = None) -> dict[str, str]:
    return dict(ask(f"/oauth2callback?claims={json.dumps(claims)}", cookies).cookies)


def test_a_cookie_counts_from_the_sign_in_to_the_sign_out(ask: Ask) -> None:
    cookies = sign_in(ask)
    assert ask("/chat", cookies).json() == cookies
    ask("/auth/logout", cookies)
    assert ask("/chat", cookies).json() == {"other": "1"}
    assert ask("/media/0a.json", cookies).status_code == 401


def test_a_cookie_that_somebody_else_signed_counts_for_nothing(ask: Ask) -> None:
    forged = signed({**VERA, "email": "ada@example.org"})
    assert ask("/chat", {**forged, "mine": "1"}).json() == {"mine": "1"}
    assert ask("/media/0a.json", forged).status_code == 401


def test_parts_of_an_ended_sign_in_do_not_count_with_the_first_cookie_of_an_open_one(ask: Ask) -> None:
    ada, vera = sign_in(ask, {**VERA, "email": "ada@example.org"}), sign_in(ask)
    ask("/auth/logout", ada)
    assert ask("/chat", {**ada, "_streamlit_user": vera["_streamlit_user"]}).json() == {"other": "1"}


def test_the_sign_out_still_knows_whose_it_is(ask: Ask) -> None:
    cookies = sign_in(ask)
    assert ask("/auth/logout", cookies).json() == cookies  # the provider is told, too


def test_a_sign_in_takes_the_place_of_the_one_before(ask: Ask) -> None:
    before = sign_in(ask)
    after = sign_in(ask, {**VERA, "email": "ada@example.org"}, before)
    assert ask("/chat", before).json() == {"other": "1"}
    assert ask("/chat", after).json() == after


def test_the_browser_forgets_it_when_its_hours_are_over_and_so_does_the_server(
    ask: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer = ask(f"/oauth2callback?claims={json.dumps(VERA)}")
    ages = {cookie.partition("=")[0]: "Max-Age=7200" in cookie for cookie in answer.headers.get_list("set-cookie")}
    assert ages == {"_streamlit_user": True, "_streamlit_user_1": True, "_streamlit_user_2": True, "other": False}
    later = sessions.time.time() + 7201
    monkeypatch.setattr(sessions.time, "time", lambda: later)
    assert ask("/chat", dict(answer.cookies)).json() == {"other": "1"}


@pytest.mark.parametrize("path", CLOSED)
def test_before_the_sign_in_nothing_is_taken_and_nothing_kept_is_given(ask: Ask, path: str) -> None:
    for method in ("GET", "PUT"):
        assert ask(path, {}, method).status_code == 401
        assert ask(path, sign_in(ask), method).status_code == 200


@pytest.mark.parametrize("path", OPEN)
def test_what_the_sign_in_page_needs_is_there(ask: Ask, path: str) -> None:
    assert ask(path).status_code == 200


def test_who_has_no_role_uploads_nothing(ask: Ask, settings: Settings) -> None:
    cookies, unverified = sign_in(ask), sign_in(ask, {"email": "ada@example.org"})
    assert ask(CLOSED[0], unverified, "PUT").status_code == 401
    settings.secrets.write_text(LOGIN + "[roles]\ndefault = 'none'\n")
    assert ask(CLOSED[0], cookies, "PUT").status_code == 401


def test_v1_is_not_asked_for_a_sign_in_and_gets_its_requests_as_they_are(ask: Ask) -> None:
    assert ask("/v1/models", signed(VERA)).json() == signed(VERA)


def test_a_page_that_is_open_is_cut_off_when_its_sign_in_ends(ask: Ask, settings: Settings) -> None:
    cookies = sign_in(ask)
    said: list[Any] = []
    heard: list[str] = []

    async def page(_: Any, receive: Any, __: Any) -> None:
        while True:
            message = await receive()
            heard.append(message["type"])
            if message["type"] == "websocket.disconnect":
                return
            if len(heard) == 2:
                assert sessions.end_sessions(settings, VERA["email"]) == 1  # type: ignore[arg-type]

    async def receive() -> Any:
        return {"type": "websocket.receive" if heard else "websocket.connect"}

    async def send(message: Any) -> None:
        said.append(message)

    login = load_login(settings)
    assert login is not None
    header = "; ".join(f"{name}={value}" for name, value in cookies.items()).encode()
    scope = {"type": "websocket", "path": "/_stcore/stream", "headers": [(b"cookie", header)]}
    asyncio.run(Door(page, settings, login, read, RELOAD)(scope, receive, send))

    assert heard == ["websocket.connect", "websocket.receive", "websocket.disconnect"]
    assert said == [{"type": "websocket.send", "bytes": RELOAD}, {"type": "websocket.close", "code": 1008}]


def test_a_sign_in_ends_when_its_groups_are_others_which_the_provider_is_asked_at_intervals(
    ask: Ask, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Any] = []
    said: list[bool | Exception] = [True, ServerError("It does not answer."), False]

    def tell(_: Any, *about: Any) -> bool:
        asked.append(about)
        if isinstance(answer := said[len(asked) - 1], Exception):
            raise answer
        return answer

    monkeypatch.setattr(door_module, "has_same_groups", tell)
    cookies = sign_in(ask)
    tokens = signed(VERA)["_streamlit_user_tokens"]
    cookies["_streamlit_user_tokens"] = tokens
    now = sessions.time.time()
    statuses = []
    for minutes in (9, 11, 12, 22, 33, 34):
        monkeypatch.setattr(sessions.time, "time", lambda minutes=minutes: now + minutes * 60)
        statuses.append((ask("/media/0a.json", cookies).status_code, len(asked)))
    assert statuses == [(200, 0), (200, 1), (200, 1), (200, 2), (401, 3), (401, 3)]
    assert asked[0] == ("an access token", VERA, "groups")
