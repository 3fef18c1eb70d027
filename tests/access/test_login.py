"""The login that the secrets file asks for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from phi3core.access.api_keys import key_required
from phi3core.access.login import load_login
from phi3core.access.roles import local_person, signed_in_person
from phi3core.errors import BadInput
from phi3core.settings import Settings
from tests.support.secrets import LOGIN, ROLES


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (('client_secret = "s"', ""), "“client_secret” is missing"),
        (("https://play.example/oauth2callback", "https://play.example/"), "/oauth2callback behind it"),
        (("https://play.example/oauth2callback", "play.example/oauth2callback"), "/oauth2callback behind it"),
        (("0123456789abcdef0123456789abcdef", "secret"), "short enough to be guessed"),
    ],
)
def test_a_login_that_could_not_work_or_not_protect_is_refused(
    write_secrets: Callable[[str], Settings], change: tuple[str, str], words: str
) -> None:
    with pytest.raises(BadInput, match=words):
        load_login(write_secrets(LOGIN.replace(*change)))


def test_a_login_that_is_gone_from_the_file_opens_nothing(
    write_secrets: Callable[[str], Settings], settings: Settings
) -> None:
    config = write_secrets(LOGIN + ROLES)
    login = load_login(config)
    assert login is not None
    assert login.client_id == "phi3"
    for text in ("", ROLES):
        settings.secrets.write_text(text)
        assert load_login(config)
        assert key_required(replace(config, api_key="x"))
        for find in (local_person, lambda config: signed_in_person(config, "ada@example.org")):
            with pytest.raises(BadInput, match=r"has no \[auth\] any more"):
                find(config)
    settings.secrets.unlink()
    with pytest.raises(BadInput):
        local_person(config)


def test_what_only_streamlit_knows_in_the_table_is_passed_on(write_secrets: Callable[[str], Settings]) -> None:
    login = load_login(write_secrets(f'{LOGIN}client_kwargs = {{ prompt = "login" }}\n'))
    assert login is not None
    assert login.for_streamlit()["client_kwargs"] == {"prompt": "login"}
    assert "0123456789abcdef" not in repr(login)
