"""Whom the claims of an ID token are about."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import httpx2
import pytest

from phi3core.access import sign_in
from phi3core.access.login import load_login
from phi3core.access.roles import Person
from phi3core.access.sign_in import has_same_groups, person_with_claims
from phi3core.errors import BadInput, ServerError
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


Tell = Callable[[int, Any], bool]


@pytest.fixture
def tell(write_secrets: Callable[[str], Settings], monkeypatch: pytest.MonkeyPatch) -> Tell:
    """Whether Vera, who signed in with the groups a and b, has the same now that the provider answers so."""
    login = load_login(write_secrets(LOGIN))
    assert login is not None
    sign_in._userinfo_endpoint.cache_clear()

    def tell(status: int, claims: Any) -> bool:
        def answer(request: httpx2.Request) -> httpx2.Response:
            if request.url.path.startswith("/.well-known/"):
                return httpx2.Response(200, json={"userinfo_endpoint": "https://id.example/me"})
            assert (str(request.url), request.headers["Authorization"]) == ("https://id.example/me", "Bearer t")
            return httpx2.Response(status, json=claims)

        client = httpx2.Client(transport=httpx2.MockTransport(answer))
        monkeypatch.setattr(httpx2, "get", client.get)
        return has_same_groups(login, "t", {"sub": "vera", "groups": ["a", "b"]}, "groups")

    return tell


def test_groups_are_the_same_in_any_order_and_nothing_else_is(tell: Tell) -> None:
    assert tell(200, {"sub": "vera", "groups": ["b", "a"], "email": "new@example.org"})
    for groups in (["a"], ["a", "b", "c"], [], None, "a"):
        assert not tell(200, {"sub": "vera", "groups": groups})
    assert not tell(200, {"sub": "vera"})
    assert not tell(200, {"sub": "ada", "groups": ["a", "b"]})  # the token of another person's sign-in


def test_a_token_that_the_provider_takes_no_more_vouches_for_no_group(tell: Tell) -> None:
    for status in (400, 401, 403):
        assert not tell(status, {"sub": "vera", "groups": ["a", "b"]})


def test_a_provider_that_is_down_is_no_answer(tell: Tell) -> None:
    for status, claims in (
        (500, {}),
        (429, {}),
        (302, {}),
        (404, {}),
        (407, {}),
        (408, {}),
        (200, []),
        (200, {"groups": ["a", "b"]}),
    ):
        with pytest.raises(ServerError, match="does not tell a person's groups"):
            tell(status, claims)
