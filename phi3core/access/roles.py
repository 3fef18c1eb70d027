"""Who may do what: a person's role, from the secrets file, which is read anew each time.

    [auth]                              # people sign in with OpenID Connect; what Streamlit's st.login asks for
    redirect_uri = "https://playground.example.org/oauth2callback"
    …
    [roles]
    default = "viewer"                  # everybody who is signed in; "none" lets in only who is named below
    releaser = ["bob@example.org", "group:ml-release"]
    admin = ["ada@example.org"]

    [keys]                              # of /v1: the SHA-256 of a key, and whose it is
    9f86d0…0a08 = "ada@example.org"

Knows nothing of how somebody signs in. What changes something calls `require`.
"""

from __future__ import annotations

import functools
import getpass
import hashlib
import secrets
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlsplit

from phi3core.errors import BadInput, Forbidden
from phi3core.settings import Settings, secret_tables

ROLES: Final = ("viewer", "reviewer", "releaser", "admin")
NO_ROLE: Final = "none"
_RANKS: Final = (NO_ROLE, *ROLES)
_GROUP = "group:"
_OTHER_KEYS = ("default", "groups_claim")
_LOGIN_KEYS = ("redirect_uri", "cookie_secret", "client_id", "client_secret", "server_metadata_url")
_SECRET_LENGTH = 32  # characters: who guesses the cookies' secret is whoever they like


@dataclass(frozen=True)
class Person:
    """Somebody who acts. name: the e-mail, or the user of this machine. role: one of ROLES, or NO_ROLE.

    Each role may what the ones before it may: a viewer looks and chats; a reviewer rates, votes, asks for a promotion
    and decides on it; a releaser promotes, rolls back, builds, copies and edits; an admin sets policies and deletes.
    """

    name: str
    role: str

    def may(self, role: str) -> bool:
        """Whether the person has this role or a higher one."""
        return _RANKS.index(self.role) >= _RANKS.index(role)


def local(settings: Settings) -> Person:
    """Who sits at this machine: ``PHI3_USER`` or the system's user. An admin where nobody signs in and has a role.

    Raises BadInput where the secrets file can't be understood.
    """
    name, table = settings.user or _system_user(), _roles(settings)
    otherwise = "viewer" if table or login(settings) else "admin"
    return Person(name, _highest(table, name, ()) or otherwise)


def known(settings: Settings, email: str, groups: Collection[str] = ()) -> Person:
    """Who signed in with this e-mail, with the highest role that the address or one of the groups has.

    Raises BadInput where the secrets file can't be understood.
    """
    table = _roles(settings)
    return Person(email, _highest(table, email, groups) or table.get("default", "viewer"))


def by_key(settings: Settings, key: str) -> Person | None:
    """Whose key of /v1 this is; None where it is nobody's. ``PHI3_API_KEY`` is the local user's.

    Raises BadInput where the secrets file can't be understood.
    """
    digest = hash_of(key)
    whose = [(hash_of(settings.api_key), "")] if settings.api_key else []
    found = None
    for known_digest, email in [*whose, *_keys(settings).items()]:
        if secrets.compare_digest(known_digest, digest):  # all are compared, so that the time it takes says nothing
            found = email
    if found is None:
        return None
    return known(settings, found) if found else local(settings)


def needs_key(settings: Settings) -> bool:
    """Whether /v1 asks for a key: there is one, or there is a login."""
    return bool(settings.api_key or _keys(settings) or login(settings))


def require(person: Person, role: str, act: str) -> None:
    """Raise Forbidden unless the person has the role. act: what is refused, as “promoting phi3/3”."""
    if not person.may(role):
        has = f"is a {person.role}" if person.role in ROLES else "has no role here"
        raise Forbidden(
            f"{act[:1].upper()}{act[1:]} needs the role {role}, and {person.name} {has}. "
            "An admin can change that under [roles] in the secrets file."
        )


@functools.cache
def login(settings: Settings) -> dict[str, Any]:
    """The [auth] table of the secrets file, {} where nobody signs in.

    Decided once for a process: an app that asked for a login goes on asking, whatever becomes of the file. Raises
    BadInput where something is missing in the table.
    """
    table, where = _table(settings, "auth"), f"{settings.secrets}, [auth]"
    if not table:
        return {}
    for key in _LOGIN_KEYS:
        if not isinstance(table.get(key), str) or not table[key]:
            raise BadInput(f"{where}: “{key}” is missing. A login needs {', '.join(_LOGIN_KEYS)}.")
    uri = urlsplit(table["redirect_uri"])
    if uri.scheme not in ("http", "https") or not uri.hostname or uri.path != "/oauth2callback":
        raise BadInput(f"{where}: “redirect_uri” must be the app's own address with /oauth2callback behind it.")
    if len(table["cookie_secret"]) < _SECRET_LENGTH:
        raise BadInput(
            f"{where}: “cookie_secret” is short enough to be guessed. “python -c 'import secrets; "
            "print(secrets.token_urlsafe(32))'” prints a good one."
        )
    return table


def hosts(settings: Settings) -> frozenset[str]:
    """The names under which the app may be asked for, besides loopback's."""
    given = login(settings).get("redirect_uri", "")
    return settings.hosts | ({urlsplit(given).hostname or ""} if given else set())


def no_login(settings: Settings, address: str | None) -> str:
    """Why the app does not listen on an address beyond loopback, and what to do."""
    return (
        f"Listening on {address or 'every address'} would let everybody in, for nobody has to sign in: write an [auth] "
        f"table with a login into {settings.secrets} (the README has an example), or stay on 127.0.0.1. A key is not "
        "enough: it opens /v1, and the pages have no key."
    )


def groups_claim(settings: Settings) -> str:
    """The claim of the ID token that lists a person's groups."""
    return str(_roles(settings).get("groups_claim", "groups"))


def new_key() -> str:
    """A fresh key of /v1, which only its owner ever sees."""
    return f"phi3-{secrets.token_urlsafe(32)}"


def hash_of(key: str) -> str:
    """What is kept of a key. It is long and random, so that a plain SHA-256 can't be guessed back."""
    return hashlib.sha256(key.encode()).hexdigest()


# ---------------------------------------------------------------- the tables


def _highest(table: dict[str, Any], name: str, groups: Collection[str]) -> str:
    """The highest role that is given to the name or to one of the groups, "" where none is."""
    own = name.strip().casefold()
    names = {f"{_GROUP}{group}" for group in groups} | (set() if own.startswith(_GROUP) else {own})
    for role in reversed(ROLES):
        if any(_comparable(given) in names for given in table.get(role, ())):
            return role
    return ""


def _comparable(given: str) -> str:
    """Addresses in any case are the same; groups are what the provider calls them."""
    return given.strip() if given.startswith(_GROUP) else given.strip().casefold()


def _roles(settings: Settings) -> dict[str, Any]:
    table, where = _table(settings, "roles"), f"{settings.secrets}, [roles]"
    for key, value in table.items():
        if key in ROLES:
            if not isinstance(value, list) or not all(isinstance(name, str) for name in value):
                raise BadInput(f"{where}: “{key}” must be a list of e-mails and groups, as in [“ada@example.org”].")
        elif key not in _OTHER_KEYS:
            raise BadInput(f"{where}: “{key}” is no role. The roles are {', '.join(ROLES)}.")
        elif not isinstance(value, str) or not value:
            raise BadInput(f"{where}: “{key}” must be text in quotes.")
    if table.get("default", "viewer") not in _RANKS:
        raise BadInput(f"{where}: “default” is “{table['default']}”; it must be one of {', '.join(_RANKS)}.")
    return table


def _keys(settings: Settings) -> dict[str, str]:
    """SHA-256 → e-mail."""
    table = _table(settings, "keys")
    for digest, email in table.items():
        if len(digest) != 64 or not isinstance(email, str) or not email:
            raise BadInput(
                f"{settings.secrets}, [keys]: “{digest[:12]}…” is not as “python -m phi3core key EMAIL” writes it."
            )
    return table


def _table(settings: Settings, name: str) -> dict[str, Any]:
    tables = secret_tables(settings)
    table = tables.get(name, {})
    if not isinstance(table, dict):
        raise BadInput(f"{settings.secrets}: “{name}” must be a table: [{name}].")
    if name != "auth" and "auth" not in tables and login(settings):
        raise BadInput(f"{settings.secrets} has no [auth] any more. Put it back, or start the app again without it.")
    return table


def _system_user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):  # a container may run under a number that has no name
        return "unknown"
