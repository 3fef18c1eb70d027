"""Sign-ins that count until they are ended, or their hours are over."""

from __future__ import annotations

import pytest

from phi3core.access import sessions
from phi3core.settings import Settings

ID = sessions.identify("signed", b'{"email": "vera@example.org"}')
VERA, HOURS = "vera@example.org", 8


def test_a_sign_in_counts_from_its_beginning_to_its_end(settings: Settings) -> None:
    assert not sessions.is_open(settings, ID)
    sessions.open_session(settings, ID, VERA, HOURS)
    assert sessions.is_open(settings, ID)
    sessions.end_session(settings, ID)
    assert not sessions.is_open(settings, ID)
    sessions.end_session(settings, ID)


def test_it_ends_by_itself_and_is_forgotten_at_the_next_sign_in(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sessions.time, "time", lambda: 1000.0)
    sessions.open_session(settings, ID, VERA, HOURS)
    monkeypatch.setattr(sessions.time, "time", lambda: 1000.0 + HOURS * 3600 - 1)
    assert sessions.is_open(settings, ID)
    monkeypatch.setattr(sessions.time, "time", lambda: 1000.0 + HOURS * 3600)
    assert not sessions.is_open(settings, ID)
    sessions.open_session(settings, sessions.identify("another", b"{}"), VERA, HOURS)
    assert not (settings.sessions / ID).exists()


def test_all_of_a_person_are_ended_at_once_and_nobody_elses(settings: Settings) -> None:
    other = sessions.identify("other", b"{}")
    for id, email in ((ID, "Vera@Example.org"), (sessions.identify("phone", b"{}"), VERA), (other, "bob@example.org")):
        sessions.open_session(settings, id, email, HOURS)
    assert sessions.end_sessions(settings, VERA) == 2
    assert not sessions.is_open(settings, ID)
    assert sessions.is_open(settings, other)


@pytest.mark.parametrize("content", ["", "{", "[]", '{"until": 99999999999}', '{"email": "a", "until": "soon"}'])
def test_a_damaged_file_lets_nobody_in(settings: Settings, content: str) -> None:
    sessions.open_session(settings, ID, VERA, HOURS)
    (settings.sessions / ID).write_text(content)
    assert not sessions.is_open(settings, ID)


def test_nobody_else_on_the_machine_reads_who_has_signed_in(settings: Settings) -> None:
    sessions.open_session(settings, ID, VERA, HOURS)
    assert settings.sessions.stat().st_mode & 0o777 == 0o700
    assert (settings.sessions / ID).stat().st_mode & 0o777 == 0o600


def test_the_same_cookie_around_other_claims_is_another_sign_in() -> None:
    assert sessions.identify("chunks-2", b"ada") != sessions.identify("chunks-2", b"vera")
