"""A dialog on a page of its own, held open, and somebody of a role who uses it."""

from __future__ import annotations

import pytest
from streamlit.testing.v1 import AppTest

from pages.components.shared import ui
from phi3core.access.roles import Person
from phi3core.settings import Settings
from tests.app.conftest import said

ANN = Person("ann@example.org", "admin")
RUTH = Person("ruth@example.org", "releaser")
RAY = Person("ray@example.org", "reviewer")
VERA = Person("vera@example.org", "viewer")


def become(person: Person, settings: Settings, patch: pytest.MonkeyPatch) -> None:
    """Be somebody else at this machine from now on."""
    named = "".join(f'{one.role} = ["{one.name}"]\n' for one in (ANN, RUTH, RAY, VERA))
    settings.secrets.write_text(f"[roles]\n{named}")
    patch.setenv("PHI3_USER", person.name)
    ui.config.clear()


def opened(dialog: str, number: int, *more: str, name: str = "phi3") -> AppTest:
    """One of the dialogs of moves.py for a version, open from now on. more: what it takes besides."""

    def page(dialog: str, name: str, number: int, more: tuple[str, ...]) -> None:
        from pages.components.registry import move_dialogs
        from pages.components.shared import dialogs, ui
        from phi3core.registry import reader

        dialogs.show_said()
        listed = ui.versions(name)
        version = next((v for v in listed if v.version == number), None) or reader.get_version(
            ui.config(), f"{name}/{number}"
        )
        getattr(move_dialogs, dialog)(name if dialog == "rollback" else version, listed, *more)

    at = AppTest.from_function(page, args=(dialog, name, number, more), default_timeout=30)
    return at.run()


def plain(at: AppTest) -> str:
    """Everything a page says in words, without what keeps anybody's text from being Markdown."""
    return said(at).replace("\\", "").replace("\u2060", "")


def warned(at: AppTest) -> str:
    return "\n".join(str(element.value) for kind in (at.warning, at.error) for element in kind)
