"""No page obeys a stranger's text, whoever wrote it wherever: it is shown letter by letter."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from phi3core.settings import Settings
from tests.app.conftest import Open
from tests.app.hostile import is_shown, obeyed, of_markdown
from tests.conftest import home_of_its_own
from tests.support.stranger import BAIT, NAME, ONE, OTHER, TWO, write_everything


@pytest.fixture(scope="module")
def stranger_home(empty_store: Path, cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home in whose store a stranger has written whatever can be written, made once; each test works in a copy."""
    folder = tmp_path_factory.mktemp("stranger")
    with home_of_its_own(folder / "home", cache, empty_store) as settings:
        write_everything(settings, folder)
    return folder / "home"


VIEWS = {
    "home": ("home", {}),
    "build": ("build", {}),
    "conversations": ("conversations", {}),
    "replay": ("conversations", {"replay": TWO}),
    "chat": ("chat", {"c": ONE}),
    "chat with a stranger's model": ("chat", {"ref": f"{NAME}/1"}),
    "chat of what is not there": ("chat", {"ref": f"{BAIT}/1"}),
    "compare": ("compare", {}),
    "a replay, voted on": ("compare", {"replay": TWO}),
    "registry": ("registry", {}),
    "registry, models": ("registry", {"list": "Models"}),
    "registry, nothing found": ("registry", {"q": BAIT, "tag": BAIT}),
    "a version that is not there": ("registry", {"model": BAIT, "version": BAIT}),
    "comparison": ("registry", {"compare": f"{NAME}/1", "with": f"{OTHER}/2", "show": "Everything"}),
    "requests": ("promotions", {"view": "requests", "model": OTHER}),
    "record": ("promotions", {"view": "record", "model": OTHER}),
    "timeline": ("promotions", {"view": "timeline", "model": OTHER}),
    "policies": ("promotions", {"view": "policies", "model": OTHER}),
} | {
    f"version, {tab}": ("registry", {"model": name, "version": "2", "tab": tab})
    for tab, name in (
        ("Overview", NAME), ("Signature", NAME), ("Metrics", NAME), ("Files", NAME), ("Reviews", OTHER),
        ("Record", OTHER), ("Use it", NAME),
    )
}  # fmt: skip


@pytest.mark.parametrize("view", VIEWS)
def test_a_stranger_s_text_is_letters(view: str, open_page: Open, stranger_home: Path, settings: Settings) -> None:
    shutil.copytree(stranger_home, settings.home, dirs_exist_ok=True)
    page, query = VIEWS[view]
    at = open_page(page, **query)
    assert not at.exception
    assert is_shown(at)
    assert obeyed(at) == []


def test_the_bait_would_be_obeyed_without_us() -> None:
    kinds = {what.partition(" ")[0] for what in of_markdown(BAIT)}
    assert kinds == {"image", "link_open", "directive", "address", "formula", "bold"}
    assert of_markdown(NAME)
