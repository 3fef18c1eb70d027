"""Registry: what a version's page says of code that somebody else wrote, and an admin's yes to it."""

from __future__ import annotations

from pathlib import Path

import pytest

from pages.components.registry import code_view
from pages.components.shared import ui
from phi3core.cell import cell
from phi3core.promotion import code_trust
from phi3core.promotion.record import search
from phi3core.settings import Settings
from tests.app.conftest import Open, Register
from tests.app.people import RUTH
from tests.app.registry import ADA, said
from tests.support import children

CODE = "flavors: {python_function: {loader_module: mlflow.pyfunc.loaders.code_model}}"


@pytest.fixture
def folder(settings: Settings, tmp_path: Path) -> Path:
    made = children.make(tmp_path / "agent")
    (made / "MLmodel").write_text(CODE)
    children.register(settings, made)
    return made


@pytest.fixture(autouse=True)
def _patient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(code_view, "_PATIENCE", 10.0)


def keys(at: object) -> set[str]:
    return {button.key for button in at.button}  # type: ignore[attr-defined]


def test_an_admin_trusts_somebodys_code_and_takes_it_back(
    open_page: Open, settings: Settings, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ui, "person", lambda: ADA)
    at = open_page("registry", model="agent", version="1")
    assert "runs code that this app did not write" in said(at)

    at.button(key="version_trust").click().run()
    assert not at.exception
    assert "which ada@example.org trusted" in said(at)
    assert [(r.action, r.user) for r in search.of_model(settings, "agent")] == [("trust", "ada@example.org")]

    at.button(key="version_distrust").click().run()
    assert "runs code that this app did not write" in said(at)
    assert search.of_model(settings, "agent")[0].action == "distrust"


def test_who_is_no_admin_reads_it_and_has_no_button(
    open_page: Open, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ui, "person", lambda: RUTH)
    at = open_page("registry", model="agent", version="1")

    assert "until an admin has trusted its files" in said(at)
    assert not {"version_trust", "version_distrust"} & keys(at)


@pytest.mark.skipif(bool(cell.why_none()), reason="there is no cell here")
def test_a_version_of_our_own_in_its_cell_says_nothing(open_page: Open, register: Register) -> None:
    register()
    at = open_page("registry", model="phi3", version="1")

    assert "code" not in said(at)
    assert "cell" not in said(at)


def test_what_a_model_may_do_and_that_it_has_no_cell_is_told(
    open_page: Open, settings: Settings, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.secrets.write_text('[models."agent"]\nnetwork = true\n')
    monkeypatch.setenv("PHI3_CELL", "off")
    code_trust.trust(settings, "agent/1", "", ADA)

    at = open_page("registry", model="agent", version="1")

    assert "without a cell on this machine: it is switched off (PHI3_CELL)" in said(at)
    assert "This model may use the network" in said(at)
    assert "which ada@example.org trusted" in said(at)
