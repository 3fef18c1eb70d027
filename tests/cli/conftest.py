from __future__ import annotations

import shutil
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from phi3core import tags
from phi3core.settings import Settings, load_settings
from tests.conftest import Built
from tests.support import fakes


@pytest.fixture
def taken() -> Iterator[int]:
    """A port that is in use."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        yield int(listening.getsockname()[1])


@pytest.fixture
def home(built: Built, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """A store of one's own that holds the built versions; their files are shared."""
    mine = tmp_path / "mine"
    mine.mkdir()
    shutil.copy(built.settings.home / "mlflow.db", mine / "mlflow.db")
    monkeypatch.setenv("PHI3_HOME", str(mine))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "")
    return load_settings()


@pytest.fixture
def phi3(settings: Settings, tmp_path: Path) -> Settings:
    """phi3/1 and /2, with files."""
    for number in (1, 2):
        folder = tmp_path / f"model-{number}"
        folder.mkdir()
        (folder / "MLmodel").write_text(f"flavors: {{python_function: {{}}}}\n# {number}\n")
        fakes.register(
            settings, "phi3", folder.as_uri(), {tags.SIZE: f"{number}"}, {"tokens_per_second": 20.0 + number}
        )
    return settings
