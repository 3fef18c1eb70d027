"""On the command line, too, a role is needed for what changes something."""

from __future__ import annotations

import pytest

from phi3core.promotion.policy import requests
from phi3core.settings import Settings
from tests.app.people import RUTH
from tests.cli.commands import refused, stages


def test_a_viewer_changes_nothing(phi3: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    requests.ask(phi3, "phi3/2", "Production", "Better", RUTH)
    phi3.secrets.write_text('[roles]\nadmin = ["ada@example.org"]\n')
    monkeypatch.setenv("PHI3_USER", "vera")
    before = stages(phi3)
    for role, command in (
        ("releaser", ("promote", "phi3/1", "--stage", "Production")),
        ("releaser", ("promote", "phi3/1", "--alias", "champion")),
        ("releaser", ("rollback", "phi3", "--reason", "Bad")),
        ("releaser", ("adopt", "phi3")),
        ("admin", ("delete", "phi3/1", "--reason", "Old", "--confirm", "phi3/1")),
        ("admin", ("policy", "set", "phi3", "Production", "--approvals", "1")),
        ("reviewer", ("request", "phi3/1", "--reason", "Please")),
        ("reviewer", ("approve", "phi3/2", "--comment", "Good")),
        ("reviewer", ("reject", "phi3/2", "--comment", "Bad")),
        ("admin", ("sign-out", "ada@example.org")),
    ):
        assert f"needs the role {role}, and vera is a viewer" in refused(*command), command
    assert stages(phi3) == before
    assert [request.status for request in requests.of_model(phi3, "phi3")] == ["open"]
