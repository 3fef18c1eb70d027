"""How much a page may upload."""

from __future__ import annotations

import asyncio
from typing import Any

from phi3core.serving.gateway.uploads import UploadLimit


def put(limit: UploadLimit, page: str, length: str | None, path: str = "/_stcore/upload_file/") -> int:
    """The status of an upload that says it has so many bytes."""
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    headers = [] if length is None else [(b"content-length", length.encode("utf-8"))]
    scope = {"type": "http", "method": "PUT", "path": f"{path}{page}/1", "headers": headers}
    asyncio.run(limit(scope, send, send))  # type: ignore[arg-type]
    return int(sent[0]["status"])


async def taken(_: Any, __: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 204, "headers": []})


def test_a_page_uploads_up_to_what_it_may_hold_and_another_page_has_its_own() -> None:
    held = {"a": 60, "b": 0}
    limit = UploadLimit(taken, held.__getitem__, 100)
    assert [put(limit, page, "41") for page in held] == [413, 204]
    assert put(limit, "a", "40") == 204
    held["a"] = 0
    assert put(limit, "a", "100") == 204


def test_uploads_at_the_same_time_are_counted_together() -> None:
    inner: list[int] = []

    async def slow(_: Any, __: Any, send: Any) -> None:
        if not inner:
            inner.append(0)
            inner[:] = await asyncio.to_thread(lambda: [put(limit, "a", "41"), put(limit, "a", "40")])
        await send({"type": "http.response.start", "status": 204, "headers": []})

    limit = UploadLimit(slow, lambda _: 0, 100)
    assert put(limit, "a", "60") == 204
    assert inner == [413, 204]
    assert put(limit, "a", "100") == 204


def test_an_upload_of_unknown_length_is_refused() -> None:
    limit = UploadLimit(taken, lambda _: 0, 100)
    assert [put(limit, "a", length) for length in (None, "-5", "many", "٣")] == [411, 411, 411, 411]
    assert put(limit, "a", None, "/elsewhere/") == 204
