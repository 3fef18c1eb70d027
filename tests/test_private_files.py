"""What the home holds is its owner's alone."""

from __future__ import annotations

from pathlib import Path

import pytest

from phi3core.private_files import make_all_private, make_private
from phi3core.settings import load_settings


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o777


def test_everything_in_a_folder_becomes_its_owners_alone_and_keeps_what_the_owner_may(tmp_path: Path) -> None:
    home, outside = tmp_path / "home", tmp_path / "outside"
    (home / "logs").mkdir(parents=True)
    outside.write_text("")
    for name, given in (("mlflow.db", 0o644), ("logs/app.log", 0o666), ("run", 0o755), ("sealed", 0o400)):
        (home / name).write_text("")
        (home / name).chmod(given)
    outside.chmod(0o644)
    (home / "link").symlink_to(outside)
    home.chmod(0o755)

    assert make_all_private(home) == []

    modes = {str(path.relative_to(home)): mode(path) for path in home.rglob("*") if not path.is_symlink()}
    assert modes == {"logs": 0o700, "mlflow.db": 0o600, "logs/app.log": 0o600, "run": 0o700, "sealed": 0o400}
    assert mode(home) == 0o700
    assert mode(outside) == 0o644


def test_what_belongs_to_another_user_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "theirs"
    file.write_text("")
    file.chmod(0o644)

    def refuse(*_: object) -> None:
        raise PermissionError

    monkeypatch.setattr(Path, "chmod", refuse)
    assert not make_private(file)
    assert file in make_all_private(tmp_path)


def test_a_file_that_is_gone_is_nobodys(tmp_path: Path) -> None:
    assert make_private(tmp_path / "gone")


def test_a_home_is_private_from_its_first_moment_and_again_after_a_change(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PHI3_HOME", str(tmp_path / "new"))
    for _ in range(2):
        home = load_settings().home
        assert mode(home) == 0o700
        home.chmod(0o755)
