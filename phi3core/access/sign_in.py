"""Who has signed in, from the claims of the identity provider's ID token; and whether it still says the same."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

from phi3core.errors import BadInput, ServerError
from phi3core.settings import Settings

from .login import Login, load_login
from .roles import Person, groups_claim, signed_in_person

_ANSWER = 5  # seconds that the provider has to answer


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
    return signed_in_person(settings, email.strip(), _groups(claims, groups_claim(settings)))


def has_same_groups(login: Login, token: str, claims: Mapping[str, Any], claim: str) -> bool:
    """Whether the provider still says of a person what it said at the sign-in. Waits for its userinfo endpoint.

    Args:
        token: the access token of the sign-in.
        claims: those of the sign-in.
        claim: the one with the groups.

    Returns:
        False where the groups are others, where the provider takes the token no more, or where it is another person's.

    Raises:
        ServerError: the provider does not answer, or not as OpenID Connect has it.
    """
    import httpx2

    try:
        answer = httpx2.get(
            _userinfo_endpoint(login.server_metadata_url), headers={"Authorization": f"Bearer {token}"}, timeout=_ANSWER
        )
        if answer.status_code in (400, 401, 403):  # others may be a proxy's, or of an outage
            return False
        now = answer.raise_for_status().json()
        return bool(now["sub"] == claims.get("sub") and _groups(now, claim) == _groups(claims, claim))
    except (httpx2.HTTPError, httpx2.InvalidURL, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ServerError(f"The identity provider does not tell a person's groups ({type(error).__name__}).") from error


@cache
def _userinfo_endpoint(metadata: str) -> str:
    import httpx2

    answer = httpx2.get(metadata, timeout=_ANSWER, follow_redirects=True)
    return str(answer.raise_for_status().json()["userinfo_endpoint"])


def _groups(claims: Mapping[str, Any], claim: str) -> frozenset[str]:
    groups = claims.get(claim)
    listed = [groups] if isinstance(groups, str) else groups if isinstance(groups, list) else []
    return frozenset(str(group) for group in listed)


def _is_verified(settings: Settings, claims: Mapping[str, Any]) -> bool:
    if "email_verified" in claims:
        return claims["email_verified"] is True
    login = load_login(settings)
    return login is not None and login.assume_email_verified
