from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from phi3core.errors import Phi3Error
from phi3core.settings import Settings, load_settings


def test_a_relative_home_is_made_absolute_for_the_children(monkeypatch: pytest.MonkeyPatch, settings: Settings) -> None:
    monkeypatch.chdir(settings.home)
    monkeypatch.setenv("PHI3_HOME", "below")

    assert load_settings().home == settings.home / "below"
    assert os.environ["PHI3_HOME"] == str(settings.home / "below")


def test_the_store_is_a_sqlite_file_in_the_home(settings: Settings) -> None:
    assert settings.tracking_uri == f"sqlite:///{settings.home}/mlflow.db"
    assert os.environ["MLFLOW_TRACKING_URI"] == settings.tracking_uri
    assert settings.artifacts == settings.home / "artifacts"


def test_another_store_keeps_its_own_artifacts(monkeypatch: pytest.MonkeyPatch, settings: Settings) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://mlflow.example:5000")

    other = load_settings()

    assert other.tracking_uri == "http://mlflow.example:5000"
    assert other.artifacts is None


def test_loading_twice_gives_equal_settings(settings: Settings) -> None:
    assert load_settings() == settings


def test_the_cache_is_in_the_home_unless_told_otherwise(monkeypatch: pytest.MonkeyPatch, settings: Settings) -> None:
    monkeypatch.delenv("PHI3_CACHE")

    assert load_settings().cache == settings.home / "cache"


def test_an_environment_that_says_how_long_to_wait_for_the_store_is_obeyed(
    monkeypatch: pytest.MonkeyPatch, settings: Settings
) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "7")

    load_settings()

    assert os.environ["MLFLOW_HTTP_REQUEST_MAX_RETRIES"] == "7"


def test_a_home_that_cant_be_made_is_told_in_a_sentence(
    monkeypatch: pytest.MonkeyPatch, settings: Settings, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("PHI3_HOME", str(tmp_path / "file" / "home"))

    with pytest.raises(Phi3Error, match="PHI3_HOME"):
        load_settings()


@pytest.mark.parametrize(
    ("written", "origins"),
    [
        ("", set()),
        ("https://Tool.example, http://localhost:3000/", {"https://tool.example", "http://localhost:3000"}),
        ("https://tool.example:443,http://a.example:80", {"https://tool.example", "http://a.example"}),
        ("https://tool.example:80", {"https://tool.example:80"}),
    ],
)
def test_origins_are_as_browsers_write_them(
    monkeypatch: pytest.MonkeyPatch, settings: Settings, written: str, origins: set[str]
) -> None:
    monkeypatch.setenv("PHI3_ORIGINS", written)

    assert load_settings().origins == origins


@pytest.mark.parametrize("written", ["*", "https://*", "null", "tool.example", "https://tool.example/app", "https://"])
def test_an_origin_that_is_none_or_every_one_is_refused(
    monkeypatch: pytest.MonkeyPatch, settings: Settings, written: str
) -> None:
    monkeypatch.setenv("PHI3_ORIGINS", written)

    with pytest.raises(Phi3Error, match="PHI3_ORIGINS has"):
        load_settings()


def test_importing_everything_writes_nothing_and_phones_nobody(tmp_path: Path) -> None:
    root = Path(__file__).resolve().parent.parent
    code = "import os, phi3core.build.jobs; print(os.environ['MLFLOW_DISABLE_TELEMETRY'], os.environ['DO_NOT_TRACK'])"
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("PHI3", "MLFLOW"))}
    environment |= {"PYTHONPATH": str(root)}

    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=environment, capture_output=True, text=True)

    assert done.stdout.split() == ["true", "true"], done.stderr
    assert list(tmp_path.iterdir()) == []


def test_no_heavy_library_is_imported_by_importing_ours() -> None:
    code = (
        "import sys, phi3core.build.jobs, phi3core.promotion.promote, phi3core.serving.pool\n"
        "heavy = {'torch', 'transformers', 'mlflow', 'onnxruntime_genai', 'streamlit', 'huggingface_hub'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout.strip() == "[]"


def test_strict_is_a_1(monkeypatch: pytest.MonkeyPatch, settings: Settings) -> None:
    assert not settings.strict
    for text, strict in (("1", True), ("0", False), ("", False)):
        monkeypatch.setenv("PHI3_STRICT", text)
        assert load_settings().strict is strict
    monkeypatch.setenv("PHI3_STRICT", "yes")
    with pytest.raises(Phi3Error, match="PHI3_STRICT is “yes”: write 1, or 0"):
        load_settings()
