"""Keys of /v1: known by their hash, and whose they are."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import replace

import pytest

from phi3core.access.api_keys import generate_key, hash_key, key_required, person_with_key
from phi3core.access.roles import Person
from phi3core.errors import BadInput
from phi3core.settings import Settings
from tests.support.secrets import ROLES


def test_a_key_is_known_by_its_hash_and_is_somebodys(write_secrets: Callable[[str], Settings]) -> None:
    key, other = generate_key(), generate_key()
    assert key != other
    assert len(key) > 40
    text = f'{ROLES}[keys]\n{hashlib.sha256(key.encode()).hexdigest()} = "ralph@example.org"\n'
    config = write_secrets(text)
    assert key not in text
    assert person_with_key(config, key) == Person("ralph@example.org", "releaser")
    for wrong in (other, "", key[:-1], key + " ", hash_key(key), "schlüssel"):
        assert person_with_key(config, wrong) is None
    assert key_required(config)


def test_without_keys_and_login_none_is_needed_and_the_one_of_the_environment_is_the_local_users(
    settings: Settings,
) -> None:
    assert not key_required(settings)
    assert person_with_key(settings, "") is None
    own = replace(settings, api_key="sesame", user="sue")
    assert key_required(own)
    assert person_with_key(own, "sesame") == Person("sue", "admin")
    assert person_with_key(own, "") is None
    assert "sesame" not in repr(own)


@pytest.mark.parametrize("line", ['abc = "ada"', f"{'0' * 64} = 3", f'{"0" * 64} = ""'])
def test_a_line_that_is_no_key_is_told_without_telling_it(write_secrets: Callable[[str], Settings], line: str) -> None:
    with pytest.raises(BadInput, match="python -m phi3core key EMAIL"):
        person_with_key(write_secrets(f"[keys]\n{line}"), "x")
