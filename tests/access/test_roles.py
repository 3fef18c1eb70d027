"""Who may do what, from the secrets file."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from phi3core.access import roles
from phi3core.access.roles import Person, local_person, signed_in_person
from phi3core.errors import BadInput, Forbidden
from phi3core.settings import Settings
from tests.support.secrets import LOGIN, ROLES

VERA, RITA, RALPH, ADA = (
    Person(f"{name}@example.org", role) for name, role in zip(("vera", "rita", "ralph", "ada"), roles.ROLES)
)


def test_a_role_is_found_by_address_in_any_case_and_by_group_and_the_highest_counts(
    write_secrets: Callable[[str], Settings],
) -> None:
    config = write_secrets(LOGIN + ROLES)
    assert signed_in_person(config, "Ada@Example.org").role == "admin"
    assert signed_in_person(config, "ralph@example.org").role == "releaser"
    assert signed_in_person(config, "rita@example.org", ["ml-release"]).role == "releaser"
    assert signed_in_person(config, "vera@example.org", ["team", "other"]).role == "reviewer"
    assert signed_in_person(config, "vera@example.org", ["ML-RELEASE"]).role == "viewer"  # groups are named exactly
    assert signed_in_person(config, "group:team").role == "viewer"  # an address is no group
    assert signed_in_person(config, "ml-release").role == "viewer"


def test_the_default_is_for_everybody_who_signed_in_and_none_is_nobody(
    write_secrets: Callable[[str], Settings],
) -> None:
    assert signed_in_person(write_secrets(LOGIN), "vera@example.org").role == "viewer"
    assert (
        signed_in_person(write_secrets(LOGIN + '[roles]\ndefault = "reviewer"'), "vera@example.org").role == "reviewer"
    )
    nobody = signed_in_person(
        write_secrets(LOGIN + '[roles]\ndefault = "none"\nviewer = ["rita@example.org"]'), "vera@example.org"
    )
    assert not nobody.may("viewer")
    with pytest.raises(Forbidden, match="Chatting needs the role viewer, and vera@example.org has no role here"):
        roles.require(nobody, "viewer", "chatting")


def test_each_role_may_what_the_ones_before_it_may() -> None:
    assert [[person.may(role) for role in roles.ROLES] for person in (VERA, RITA, RALPH, ADA)] == [
        [True, False, False, False],
        [True, True, False, False],
        [True, True, True, False],
        [True, True, True, True],
    ]


def test_roles_are_read_anew(write_secrets: Callable[[str], Settings], settings: Settings) -> None:
    config = write_secrets(LOGIN)
    assert signed_in_person(config, "vera@example.org").role == "viewer"
    settings.secrets.write_text(LOGIN + '[roles]\nadmin = ["vera@example.org"]')
    assert signed_in_person(config, "vera@example.org").role == "admin"


def test_the_user_of_a_machine_is_its_admin_until_somebody_has_a_role_or_signs_in(
    write_secrets: Callable[[str], Settings], settings: Settings
) -> None:
    sue = replace(settings, user="sue")
    assert local_person(sue) == Person("sue", "admin")
    assert local_person(settings).name
    write_secrets(ROLES)
    assert local_person(sue) == Person("sue", "viewer")
    write_secrets('[roles]\nreleaser = ["sue"]')
    assert local_person(sue) == Person("sue", "releaser")
    write_secrets(LOGIN)
    assert local_person(sue) == Person("sue", "viewer")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[roles", "not written as TOML"),
        ("roles = 3", "“roles” must be a table"),
        ('[roles]\nboss = ["ada"]', "“boss” is no role. The roles are viewer, reviewer, releaser, admin"),
        ('[roles]\nadmin = "ada"', "“admin” must be a list"),
        ("[roles]\nadmin = [3]", "“admin” must be a list"),
        ('[roles]\ndefault = "boss"', "“default” is “boss”"),
        ("[roles]\ngroups_claim = 3", "“groups_claim” must be text"),
    ],
)
def test_a_table_that_makes_no_sense_gives_nobody_a_role(
    write_secrets: Callable[[str], Settings], text: str, words: str
) -> None:
    config = write_secrets(text)
    for find in (local_person, lambda config: signed_in_person(config, "ada@example.org")):
        with pytest.raises(BadInput, match=words):
            find(config)
