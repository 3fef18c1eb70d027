"""A copy goes only where the secrets file says, with the credentials that it gives for there and none of this app's."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from phi3core.access.roles import Person
from phi3core.errors import BadInput, Phi3Error
from phi3core.promotion.copy import copy_version
from phi3core.promotion.copy_targets import find_target, load_targets
from phi3core.settings import Settings
from tests.support import fakes, logged
from tests.support.listener import listening

ADA = Person("ada@example.org", "releaser")
OWN = "the-app-s-own-token"


@pytest.fixture
def listener(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[tuple[str, list[str]]]:
    """A server that takes nothing, beside an app that has credentials of its own."""
    for name in ("MLFLOW_TRACKING_TOKEN", "AWS_SECRET_ACCESS_KEY", "HF_TOKEN", "PHI3_RECORD_KEY"):
        monkeypatch.setenv(name, OWN)
    (tmp_path / ".netrc").write_text(f"machine 127.0.0.1 login ada password {OWN}\n")
    monkeypatch.setenv("HOME", str(tmp_path))
    with listening() as found:
        yield found


def test_an_address_that_nobody_allowed_is_not_even_asked(settings: Settings, listener: tuple[str, list[str]]) -> None:
    address, heard = listener
    fakes.register(settings)
    with pytest.raises(BadInput, match=r"an admin names each in .*\[copy\.NAME\]"):
        copy_version(settings, "phi3/1", "edge", ADA, address)
    assert heard == []


def test_a_target_gets_its_own_credentials_and_none_of_the_app_s(
    settings: Settings, listener: tuple[str, list[str]], tmp_path: Path
) -> None:
    address, heard = listener
    ref = logged.register(settings, "phi3", logged.save(tmp_path / "model"))
    settings.secrets.write_text(f'[copy.edge]\nuri = "{address}"\ntoken = "made-for-the-edge"\n')
    with pytest.raises(Phi3Error):
        copy_version(settings, ref, "edge", ADA, "edge")
    sent = "\n".join(heard)
    assert "Authorization: Bearer made-for-the-edge" in sent
    assert OWN not in sent
    assert "YWRhOn" not in sent  # base64 of “ada:”, from the file in the home folder


@pytest.mark.parametrize(
    ("written", "told"),
    [
        ('uri = "ftp://elsewhere"', "is no tracking URI"),
        ('token = "x"', "uri"),
        ('uri = "http://a"\ntoken = "x"\nusername = "y"', "not several of them"),
        ('uri = "http://a"\ntoken_env = "NOT_SET_ANYWHERE"', "which is not set"),
    ],
)
def test_a_target_that_is_written_wrong_is_told_with_its_table(settings: Settings, written: str, told: str) -> None:
    settings.secrets.write_text(f"[copy.edge]\n{written}\n")
    with pytest.raises(BadInput, match=r"\[copy\.edge\]") as raised:
        load_targets(settings)
    assert told in str(raised.value)


def test_a_target_is_found_by_its_name_and_by_its_address_without_the_password(settings: Settings) -> None:
    settings.secrets.write_text('[copy.edge]\nuri = "http://ada:sesame@mlflow:5000/"\n')
    for written in ("edge", "http://ada:sesame@mlflow:5000", "http://ada:…@mlflow:5000"):
        assert find_target(settings, written).address == "http://ada:…@mlflow:5000"
