"""A dialog on a page of its own, held open, and somebody of a role who uses it."""

from __future__ import annotations

import pytest
from streamlit.testing.v1 import AppTest

from pages.components.shared import ui
from phi3core.access.roles import Person
from phi3core.registry import reader
from phi3core.settings import Settings
from tests.app.conftest import said
from tests.app.people import ANN, RAY, RUTH, VERA
from tests.app.talks import shown

DIALOGS = {
    "move": ("registry.move_dialog", "show"),
    "aliases": ("registry.aliases_dialog", "show"),
    "rollback": ("registry.rollback_dialog", "show"),
    "delete": ("registry.delete_dialog", "show"),
    "ask": ("promotions.request_dialogs", "ask_dialog"),
}


def become(person: Person, settings: Settings, patch: pytest.MonkeyPatch) -> None:
    """Be somebody else at this machine from now on."""
    named = "".join(f'{one.role} = ["{one.name}"]\n' for one in (ANN, RUTH, RAY, VERA))
    settings.secrets.write_text(f"[roles]\n{named}")
    patch.setenv("PHI3_USER", person.name)
    ui.config.clear()


def opened(dialog: str, number: int, *more: str, name: str = "phi3") -> AppTest:
    """One of DIALOGS for a version, open from now on. more: what it takes besides."""

    def page(module: str, function: str, name: str, number: int, more: tuple[str, ...]) -> None:
        from importlib import import_module

        from pages.components.shared import dialogs, store_reads, ui
        from phi3core.registry import reader

        dialogs.show_result()
        listed = store_reads.versions(name)
        version = next((v for v in listed if v.version == number), None) or reader.get_version(
            ui.config(), f"{name}/{number}"
        )
        show = getattr(import_module(f"pages.components.{module}"), function)
        show(name if module.endswith("rollback_dialog") else version, listed, *more)

    at = AppTest.from_function(page, args=(*DIALOGS[dialog], name, number, more), default_timeout=30)
    return at.run()


def plain(at: AppTest) -> str:
    """Everything a page says in words, without what keeps anybody's text from being Markdown."""
    return said(at).replace("\\", "").replace("\u2060", "")


def warned(at: AppTest) -> str:
    return shown("\n".join(str(element.value) for kind in (at.warning, at.error) for element in kind))


def stages(settings: Settings) -> dict[int, str]:
    return {version.version: version.stage for version in reader.list_versions(settings, "phi3")}


def keys_of(at: AppTest) -> set[str]:
    return {str(button.key) for button in at.button}


def listed(at: AppTest) -> list[tuple[str, str]]:
    """Version and action of each row of the record."""
    table = at.dataframe[0].value
    return list(zip(table["Version"], table["What"]))


def press(at: AppTest, opener: str, button: str, **typed: str) -> AppTest:
    """Through a dialog. A test has no fragment runs, so the dialog's own button is held open with it."""
    at.button(key=opener).click().run()
    for key, text in typed.items():
        at.text_area(key=key).set_value(text)
    at.button(key=opener).click()
    at.button(key=button).click()
    return at.run()
