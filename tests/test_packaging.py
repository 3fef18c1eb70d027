"""The wheel that ``pip install .`` makes: all of the program, the pages beside it, and the command ``phi3``."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
from dataclasses import dataclass
from importlib.metadata import Distribution
from pathlib import Path

import httpx
import pytest

import phi3core
from phi3core import tags
from phi3core.access.api_keys import hash_key
from phi3core.settings import Settings
from tests.support import fakes
from tests.support.stores import free_port

ROOT = Path(__file__).resolve().parent.parent
APP = ("app.py", "server.py", "pages", "assets", ".streamlit/config.toml")
BUILD = ("pyproject.toml", "requirements.txt", "README.md", "LICENSE")


@dataclass(frozen=True)
class Installed:
    """Where ``pip install`` put the package, and the files that it was made from."""

    folder: Path
    sources: list[str]


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Installed:
    """Installed from a copy, because setuptools leaves a folder build/ beside its sources."""
    source, folder = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("installed")
    for name in ("phi3core", *APP, *BUILD):
        (source / name).parent.mkdir(exist_ok=True)
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(ROOT / name, source / name)
    sources = files_below(source)
    command = [sys.executable, "-m", "pip", "install", "--no-deps", "--no-build-isolation", "--no-compile"]
    run = subprocess.run([*command, "--target", str(folder), str(source)], capture_output=True, text=True)
    assert run.returncode == 0, run.stdout + run.stderr
    return Installed(folder, sources)


def files_below(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def phi3(installed: Installed, folder: Path, *arguments: str) -> str:
    """What the installed command prints, run in a folder that has nothing to do with the checkout."""
    run = subprocess.run(
        [str(installed.folder / "bin" / "phi3"), *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(installed.folder)},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert run.returncode == 0, run.stdout + run.stderr
    return run.stdout


def test_every_file_of_the_program_is_installed_and_no_other(installed: Installed) -> None:
    """A package that pyproject.toml does not name is missing here."""
    expected = [
        name if name.startswith("phi3core/") else f"phi3_playground/{name}"
        for name in installed.sources
        if name not in BUILD
    ]
    found = [name for name in files_below(installed.folder) if ".dist-info/" not in name]
    assert found == sorted([*expected, "bin/phi3"])


def test_the_package_asks_for_the_pinned_requirements(installed: Installed) -> None:
    distribution = Distribution.at(next(installed.folder.glob("*.dist-info")))
    lines = (line.split("#")[0].strip() for line in (ROOT / "requirements.txt").read_text().splitlines())
    assert distribution.requires == [line for line in lines if line]
    assert distribution.version == phi3core.__version__
    assert distribution.metadata["License-Expression"] == "Apache-2.0"


def test_the_installed_command_says_its_version_and_lists_versions(
    installed: Installed, settings: Settings, tmp_path: Path
) -> None:
    assert phi3(installed, tmp_path, "--version") == f"phi3, version {phi3core.__version__}\n"
    assert "python -m phi3core demo" in phi3(installed, tmp_path, "models")


def test_the_installed_app_starts_in_any_folder(installed: Installed, settings: Settings, tmp_path: Path) -> None:
    """With the pages and the settings of Streamlit that were installed, and the secrets file of that folder."""
    fakes.register(settings, tags.DEMO_MODEL, tags={tags.WRAPPER: "onnx", tags.SOURCE: "embedded"})  # nothing to build
    port = free_port()
    (tmp_path / ".streamlit").mkdir()
    (tmp_path / ".streamlit" / "secrets.toml").write_text(f"[keys]\n{hash_key('sesame')} = 'ada@example.org'\n")
    environment = {**os.environ, "PYTHONPATH": str(installed.folder)}
    del environment["PHI3_SECRETS"]
    app = subprocess.Popen(
        [str(installed.folder / "bin" / "phi3"), "app", "--port", str(port)],
        cwd=tmp_path,
        env={**environment, "PYTHONUNBUFFERED": "1"},
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert app.stdout is not None
        assert f"The playground is at http://localhost:{port}" in app.stdout.readline()
        client = httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60)
        assert client.get("/").status_code == 200
        assert client.get("/v1/models").status_code == 401
        listed = client.get("/v1/models", headers={"Authorization": "Bearer sesame"}).json()
        assert f"{tags.DEMO_MODEL}/1" in [model["id"] for model in listed["data"]]
    finally:
        app.send_signal(signal.SIGINT)
        assert app.wait(30) == 0


def test_the_installed_pages_are_drawn(installed: Installed, settings: Settings) -> None:
    folder = installed.folder / "phi3_playground"
    script = (
        f"import sys; sys.path[:0] = [{str(folder)!r}, {str(installed.folder)!r}]\n"
        "from streamlit.testing.v1 import AppTest\n"
        f"at = AppTest.from_file({str(folder / 'app.py')!r}, default_timeout=60).run()\n"
        "assert not at.exception, at.exception\n"
        "print(at.title[0].value, sys.modules['pages'].__path__)\n"
    )
    run = subprocess.run([sys.executable, "-c", script], cwd=folder, capture_output=True, text=True, timeout=120)
    assert run.returncode == 0, run.stderr
    assert run.stdout.startswith("Phi-3 Playground "), run.stdout
    assert str(folder / "pages") in run.stdout


def test_the_changelog_begins_with_this_version() -> None:
    versions = re.findall(r"^## \[?(\d+\.\d+\.\d+)", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert versions[0] == phi3core.__version__
