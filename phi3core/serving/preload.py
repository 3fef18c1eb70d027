"""Has a browser fetch what a page is drawn with while it still reads the page's frame.

Streamlit's pages ask for the code of a table, an input or a menu only once the first one is to be drawn, wave after
wave: half of a first visit's wait. Knows how Streamlit names the files, and leaves a page as it is where it does not.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from .guard import App, Receive, Scope, Send


class Preload:
    """ASGI middleware. static: Streamlit's folder of files. pages: by path, the components that it is drawn with."""

    def __init__(self, app: App, static: Path, pages: Mapping[str, Sequence[str]]) -> None:
        self._app = app
        self._links = {path: links(static, components).encode() for path, components in pages.items()}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        link = self._links.get(scope.get("path", "").rstrip("/")) if scope["type"] == "http" else None
        if not link:
            await self._app(scope, receive, send)
            return

        async def with_links(message: Any) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], (b"link", link)]
            await send(message)

        await self._app(scope, receive, with_links)


def links(static: Path, components: Sequence[str]) -> str:
    """The Link header for the components' files and all that those import, but for what every page loads anyway."""
    folder = static / "static" / "js"
    index = static / "index.html"
    loaded = set(re.findall(r"static/js/([^\"]+\.js)", index.read_text())) if index.is_file() else set()
    found: list[str] = []
    waiting = [file.name for component in components for file in sorted(folder.glob(f"{component}.*.js"))]
    while waiting:
        name = waiting.pop(0)
        if name in loaded or name in found or not (folder / name).is_file():
            continue
        found.append(name)
        waiting += re.findall(r"(?:from|import)\"\./([^\"]+\.js)\"", (folder / name).read_text())
    styles = [
        file.name for component in components for file in sorted((static / "static/css").glob(f"{component}.*.css"))
    ]
    return ", ".join(
        [f"</static/js/{name}>; rel=modulepreload; crossorigin" for name in found]
        + [f"</static/css/{name}>; rel=preload; as=style; crossorigin" for name in styles]
    )
