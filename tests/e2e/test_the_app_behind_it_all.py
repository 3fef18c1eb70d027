"""After all the journeys, for it is the last file that asks the session's app: what its process is and has written."""

from __future__ import annotations

import re
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
    failures = tracebacks((app.settings.logs / "app.log").read_text())
    assert failures == [], "\n".join(failures)[-6000:]


def tracebacks(log: str) -> list[str]:
    """The tracebacks in a log, but for those of pages that ended on purpose.

    Streamlit ends the run of a page that was left with StopException, which its log may hold where the run was just
    showing that the store does not answer.
    """
    plain = re.sub(r"\x1b\[[0-9;]*m", "", log)
    chains, chained = list[str](), False
    for part in re.split(r"(?=^.*Traceback \(most recent call last\))", plain, flags=re.MULTILINE)[1:]:
        chains = [*chains[:-1], chains[-1] + part] if chained else [*chains, part]
        chained = bool(re.search(r"another exception occurred|direct cause of the following", part))
    return [chain for chain in chains if not re.search(r"^\W*StopException\s*$", chain, flags=re.MULTILINE)]


RICH = "\x1b[31m── Traceback (most recent call last) ──\x1b[0m\n store/client.py:195 in ask\n"


@pytest.mark.parametrize(
    ("log", "count"),
    [
        ("all is well\n", 0),
        (f"{RICH}StopException\n", 0),
        (f"{RICH}StoreDown: away\nDuring it another exception occurred:\n{RICH}StopException\n", 0),
        (f"{RICH}StopException\n{RICH}KeyError: 'x'\n", 1),
        ("Traceback (most recent call last):\n  File x\nValueError: StopException is no excuse\n", 1),
    ],
)  # fmt: skip
def test_only_a_page_that_ended_on_purpose_may_leave_a_traceback(log: str, count: int) -> None:
    assert len(tracebacks(log)) == count
