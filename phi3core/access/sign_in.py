"""Who has signed in, from the claims of the identity provider's ID token."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from phi3core.errors import BadInput
from phi3core.settings import Settings

from .login import load_login
from .roles import Person, groups_claim, signed_in_person


def person_with_claims(settings: Settings, claims: Mapping[str, Any]) -> Person:
    """The person whom these claims are about, with the role as it is now.

    An address counts where ``email_verified`` is true: a provider may let anybody register with the address of an
    admin. Where the claim is not there at all, ``assume_email_verified`` of [auth] speaks for the provider.

    Raises:
        BadInput: the claims hold no verified address, or the secrets file can't be understood.
    """
    email = claims.get("email")
    if not isinstance(email, str) or not email.strip() or not _is_verified(settings, claims):
        raise BadInput("Your sign-in tells no e-mail address of yours that was verified, and roles go by it.")
    groups = claims.get(groups_claim(settings))
    listed = [groups] if isinstance(groups, str) else groups if isinstance(groups, list) else []
    return signed_in_person(settings, email.strip(), [str(group) for group in listed])


def _is_verified(settings: Settings, claims: Mapping[str, Any]) -> bool:
    if "email_verified" in claims:
        return claims["email_verified"] is True
    login = load_login(settings)
    return login is not None and login.assume_email_verified
