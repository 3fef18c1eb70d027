"""phi3 trust."""

from __future__ import annotations

from pathlib import Path

from phi3core.promotion import code_trust
from phi3core.settings import Settings
from tests.cli.commands import run
from tests.support import children


def test_trust_is_given_and_taken_back_from_a_terminal(settings: Settings, tmp_path: Path) -> None:
    folder = children.make(tmp_path / "agent")
    (folder / "MLmodel").write_text("flavors: {python_function: {loader_module: agent}}")
    version = children.register(settings, folder)

    given = run("trust", "agent/1", "--reason", "I read it.")
    assert given.stdout == "The code of agent/1 may run, as its files are now.\n"
    assert code_trust.is_trusted(settings, version, folder)

    taken = run("trust", "agent/1", "--revoke")
    assert taken.stdout == "The code of agent/1 runs no more.\n"
    assert not code_trust.is_trusted(settings, version, folder)
    assert run("trust", "agent/1", "--revoke").exit_code == 1
