"""Whether people sign in, from the [auth] table of the secrets file, which is what Streamlit's st.login asks for.

[auth]
redirect_uri = "https://playground.example.org/oauth2callback"
cookie_secret = "…"
client_id = "…"
client_secret = "…"
server_metadata_url = "https://id.example.org/.well-known/openid-configuration"
"""

from __future__ import annotations

import functools
from typing import Annotated, Any, ClassVar
from urllib.parse import urlsplit

from pydantic import ConfigDict, Field, field_validator

from phi3core.errors import BadInput
from phi3core.settings import Settings
from phi3core.validation import Table, validate

from .secrets_file import find_table, read_secrets

_SECRET_LENGTH = 32  # characters: a cookie that is signed with a guessed secret signs in as anybody


class Login(Table):
    """The [auth] table. Streamlit knows more keys than these; they are passed on as they are.

    assume_email_verified: the provider never sends the claim, and vouches for every address that it tells.
    session_hours: how long a sign-in counts. groups_minutes: how often the provider is asked whether a person's groups
    are still those of the sign-in; None: never, so that they are as old as the sign-in.
    """

    model_config = ConfigDict(extra="allow")

    missing: ClassVar[str] = (
        "is missing. A login needs redirect_uri, cookie_secret, client_id, client_secret, server_metadata_url."
    )

    redirect_uri: Annotated[str, Field(min_length=1)]
    cookie_secret: Annotated[str, Field(min_length=1, repr=False)]
    client_id: Annotated[str, Field(min_length=1)]
    client_secret: Annotated[str, Field(min_length=1, repr=False)]
    server_metadata_url: Annotated[str, Field(min_length=1)]
    assume_email_verified: bool = False
    session_hours: Annotated[float, Field(gt=0, le=720, description="a number of hours, at most 720")] = 8
    groups_minutes: Annotated[float | None, Field(gt=0, le=1440, description="a number of minutes, to 1440")] = None

    @property
    def over_https(self) -> bool:
        """Whether people reach the app over https."""
        return self.redirect_uri.startswith("https:")

    def for_streamlit(self) -> dict[str, Any]:
        """The table without the keys that are ours alone."""
        return self.model_dump(exclude={"assume_email_verified", "session_hours", "groups_minutes"})

    @field_validator("redirect_uri")
    @classmethod
    def _is_our_callback(cls, text: str) -> str:
        uri = urlsplit(text)
        if uri.scheme not in ("http", "https") or not uri.hostname or uri.path != "/oauth2callback":
            raise ValueError("“redirect_uri” must be the app's own address with /oauth2callback behind it.")
        return text

    @field_validator("cookie_secret")
    @classmethod
    def _is_long(cls, text: str) -> str:
        if len(text) < _SECRET_LENGTH:
            raise ValueError(
                "“cookie_secret” is short enough to be guessed. “python -c 'import secrets; "
                "print(secrets.token_urlsafe(32))'” prints a good one."
            )
        return text


@functools.cache
def load_login(settings: Settings) -> Login | None:
    """The login of the secrets file, None where people do not sign in.

    Decided once for a process: an app that asked for a login goes on asking, whatever becomes of the file. Raises
    BadInput where something is missing in the table.
    """
    table = find_table(settings, read_secrets(settings), "auth")
    return validate(Login, table, f"{settings.secrets}, [auth]") if table else None


def read_table(settings: Settings, name: str) -> dict[str, Any]:
    """A table of the secrets file that depends on the login, {} where there is none.

    Raises BadInput where the process asks for a login that the file no longer has.
    """
    secrets = read_secrets(settings)
    table = find_table(settings, secrets, name)
    if "auth" not in secrets and load_login(settings):
        raise BadInput(f"{settings.secrets} has no [auth] any more. Put it back, or start the app again without it.")
    return table


def allowed_hosts(settings: Settings) -> frozenset[str]:
    """The names under which the app may be asked for, besides loopback's."""
    login = load_login(settings)
    return settings.hosts | ({urlsplit(login.redirect_uri).hostname or ""} if login else set())
