"""What every answer tells a browser."""

from __future__ import annotations

import asyncio

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from phi3core.serving.gateway.safe_headers import SafeHeaders


async def page(_: Request) -> Response:
    answer = PlainTextResponse("a page", headers={"Content-Security-Policy": "sandbox", "X-Frame-Options": "ALLOWALL"})
    answer.set_cookie("_streamlit_user", "vera", httponly=True)
    answer.set_cookie("already", "1", secure=True)
    return answer


def get(path: str, secure: bool = False) -> httpx.Response:
    app = SafeHeaders(Starlette(routes=[Route("/page", page)]), secure)  # type: ignore[arg-type]

    async def ask() -> httpx.Response:
        transport = httpx.ASGITransport(app)  # type: ignore[arg-type]
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
            return await client.get(path)

    return asyncio.run(ask())


@pytest.mark.parametrize("path", ["/page", "/no-such-page"])
def test_no_other_page_frames_ours_and_nothing_is_guessed_or_told_elsewhere(path: str) -> None:
    headers = get(path).headers
    assert "frame-ancestors 'self'" in headers.get_list("content-security-policy")
    assert headers.get_list("x-frame-options") == ["SAMEORIGIN"]
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "same-origin"


def test_a_policy_that_an_answer_has_of_its_own_holds_too() -> None:
    assert "sandbox" in get("/page").headers.get_list("content-security-policy")


@pytest.mark.parametrize("secure", [True, False])
def test_behind_https_every_cookie_is_sent_over_https_alone(secure: bool) -> None:
    user, already = get("/page", secure).headers.get_list("set-cookie")
    assert ("; Secure" in user) == secure
    assert already.count("Secure") == 1
