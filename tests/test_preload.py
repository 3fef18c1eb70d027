"""A page's links: what a browser is told to fetch beforehand is what Streamlit will ask for, and only that."""

from __future__ import annotations

from pathlib import Path

import streamlit as st
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from starlette.testclient import TestClient

from phi3core.serving.preload import Preload, links

STATIC = Path(st.__file__).parent / "static"


def names(text: str) -> list[str]:
    return [part.split(">")[0].strip().lstrip("<") for part in text.split(",") if part.strip()]


def test_a_components_files_and_all_they_import_are_named_once_and_are_there() -> None:
    named = names(links(STATIC, ("DataFrame", "Selectbox")))

    assert any("/DataFrame." in name and name.endswith(".js") for name in named)
    assert any("/Quiver." in name for name in named), "the table's own imports"
    assert len(named) == len(set(named))
    assert all((STATIC / name.lstrip("/")).is_file() for name in named)


def test_what_every_page_loads_anyway_is_not_named() -> None:
    index = (STATIC / "index.html").read_text()

    assert [name for name in names(links(STATIC, ("DataFrame",))) if name.rsplit("/", 1)[-1] in index] == []


def test_a_streamlit_that_names_its_files_otherwise_is_left_as_it_is(tmp_path: Path) -> None:
    assert links(tmp_path, ("DataFrame",)) == ""


def test_only_the_page_itself_gets_the_links() -> None:
    def page(_: object) -> PlainTextResponse:
        return PlainTextResponse("a page")

    app = Starlette(
        routes=[Route("/{path:path}", page)],
        middleware=[Middleware(Preload, static=STATIC, pages={"/registry": ("DataFrame",)})],
    )
    browser = TestClient(app)

    assert "DataFrame" in browser.get("/registry?q=x").headers["link"]
    assert "link" not in browser.get("/chat").headers
