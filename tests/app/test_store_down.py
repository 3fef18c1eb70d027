"""A store that is down: one sentence on every page, and a way to try again; never a traceback."""

from __future__ import annotations

import pytest

from phi3core.errors import StoreDown
from phi3core.registry import reader
from tests.app.conftest import Open, Register, said
from tests.app.talks import shown

PAGES = ("home", "chat", "compare", "prompt_sets", "evaluate", "review", "conversations", "registry", "build")


@pytest.mark.parametrize("uri", ["http://127.0.0.1:9", "sqlite:////dev/null/all.db"])
@pytest.mark.parametrize("page", PAGES)
def test_every_page_says_that_the_store_is_down(
    open_page: Open, monkeypatch: pytest.MonkeyPatch, page: str, uri: str
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    at = open_page(page)
    assert not at.exception
    errors = [shown(error.value) for error in at.error]
    assert errors, said(at)
    assert all("does not answer" in error and "Check that it runs" in error for error in errors)
    assert "Traceback" not in said(at)
    assert any(button.label == "Try again" for button in at.button)


def test_a_page_comes_back_when_the_store_does(
    open_page: Open, register: Register, monkeypatch: pytest.MonkeyPatch
) -> None:
    register()
    at = open_page("home")
    assert not at.error
    real = reader.search_models

    def down(*_: object, **__: object) -> None:
        raise StoreDown("The MLflow store does not answer.")

    monkeypatch.setattr(reader, "search_models", down)
    at.run()
    assert shown(at.error[0].value) == "The MLflow store does not answer."
    assert "goes on by itself when the store answers" in said(at)
    monkeypatch.setattr(reader, "search_models", real)
    retry = next(button for button in at.button if button.label == "Try again")
    retry.click().run()
    assert not at.error
    assert "Nothing is in Production yet" in said(at)


def test_the_password_of_the_store_is_never_shown(open_page: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://ada:hunter2@127.0.0.1:9")
    assert "hunter2" not in said(open_page("home"))
