"""Whom the claims of an ID token are about."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from phi3core.access.roles import Person
from phi3core.access.sign_in import person_with_claims
from phi3core.errors import BadInput
from phi3core.settings import Settings
from tests.support.secrets import LOGIN, ROLES

ADA = {"email": "ada@example.org", "groups": []}


@pytest.mark.parametrize("verified", [False, "False", "false", "true", "True", "", None, 0, 1, [True]])
def test_only_true_says_that_an_address_was_verified(
    write_secrets: Callable[[str], Settings], verified: object
) -> None:
    for more in ("", "assume_email_verified = true\n"):  # which is no word against what the provider does say
        with pytest.raises(BadInput, match="no e-mail address of yours that was verified"):
            person_with_claims(write_secrets(LOGIN + more + ROLES), {**ADA, "email_verified": verified})
    assert person_with_claims(write_secrets(LOGIN + ROLES), {**ADA, "email_verified": True}).role == "admin"


def test_a_provider_that_never_says_it_is_believed_only_where_its_administrator_says_so(
    write_secrets: Callable[[str], Settings],
) -> None:
    with pytest.raises(BadInput, match="no e-mail address of yours that was verified"):
        person_with_claims(write_secrets(LOGIN + ROLES), ADA)
    believing = write_secrets(f"{LOGIN}assume_email_verified = true\n{ROLES}")
    assert person_with_claims(believing, ADA) == Person("ada@example.org", "admin")


def test_what_believes_a_provider_must_be_true_or_false(write_secrets: Callable[[str], Settings]) -> None:
    with pytest.raises(BadInput, match="“assume_email_verified” must be true or false"):
        person_with_claims(write_secrets(f'{LOGIN}assume_email_verified = "yes"\n{ROLES}'), ADA)


@pytest.mark.parametrize("claims", [{}, {"email": "  "}, {"email": ["ada@example.org"]}, {"email": None}])
def test_claims_without_an_address_are_nobodys(
    write_secrets: Callable[[str], Settings], claims: dict[str, Any]
) -> None:
    with pytest.raises(BadInput):
        person_with_claims(write_secrets(LOGIN + ROLES), {**claims, "email_verified": True})
