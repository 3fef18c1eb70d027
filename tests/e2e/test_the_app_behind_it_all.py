"""After all the journeys, for it is the last file that asks the session's app: what its process is and has written."""

from __future__ import annotations

from pathlib import Path

import pytest
from playwright.sync_api import BrowserContext

from tests.e2e.conftest import App

pytestmark = [pytest.mark.browser, pytest.mark.model]


def test_the_app_server_never_loaded_a_machine_learning_library(app: App) -> None:
    """What the process has mapped into its memory."""
    maps = Path(f"/proc/{app.server().pid}/maps")
    if not maps.is_file():
        pytest.skip("needs /proc")
    loaded = {name for name in ("/torch/", "/onnxruntime", "/tokenizers/") if name in maps.read_text()}
    assert loaded == set()


def test_no_page_asked_another_machine_for_anything(context: BrowserContext, outside: list[str]) -> None:
    assert outside == []


def test_the_log_of_the_app_holds_no_traceback(app: App) -> None:
    log = (app.settings.logs / "app.log").read_text()
    assert "Traceback" not in log, log[max(0, log.index("Traceback") - 1000) :][:6000]
