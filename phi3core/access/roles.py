"""A person's role, from the [roles] table of the secrets file, and the check of it.

[roles]
default = "viewer"                  # of every person who is signed in; "none" admits only those named below
releaser = ["bob@example.org", "group:ml-release"]
admin = ["ada@example.org"]

Knows nothing of how a person signs in. A function that changes something calls `require`.
"""

from __future__ import annotations

import getpass
from collections.abc import Collection
from dataclasses import dataclass
from typing import Annotated, ClassVar, Final, Literal

from pydantic import Field

from phi3core.errors import Forbidden
from phi3core.settings import Settings
from phi3core.validation import Table, validate

from .login import load_login, read_table

ROLES: Final = ("viewer", "reviewer", "releaser", "admin")
NO_ROLE: Final = "none"
_RANKS: Final = (NO_ROLE, *ROLES)
_GROUP = "group:"

_Names = Annotated[list[str], Field(description="a list of e-mails and groups, as in [“ada@example.org”]")]


@dataclass(frozen=True)
class Person:
    """A person who acts. name: the e-mail, or the user of this machine. role: one of ROLES, or NO_ROLE.

    groups: what the provider calls the groups that the person is in; empty for the user of this machine.

    Each role may do what the ones before it may: a viewer reads and chats; a reviewer rates, votes, asks for a
    promotion and decides on it; a releaser promotes, rolls back, builds, copies and edits; an admin sets policies and
    deletes.
    """

    name: str
    role: str
    groups: frozenset[str] = frozenset()

    def may(self, role: str) -> bool:
        """Whether the person has this role or a higher one."""
        return _RANKS.index(self.role) >= _RANKS.index(role)


class _Roles(Table):
    """The [roles] table.

    default: the role of every person who is signed in. groups_claim: the claim of the ID token that lists a person's
    groups.
    """

    unknown: ClassVar[str] = f"is no role. The roles are {', '.join(ROLES)}."

    viewer: _Names = Field(default=[])
    reviewer: _Names = Field(default=[])
    releaser: _Names = Field(default=[])
    admin: _Names = Field(default=[])
    default: Literal["none", "viewer", "reviewer", "releaser", "admin"] = "viewer"
    groups_claim: str = Field(default="groups", min_length=1, description="text in quotes")


def local_person(settings: Settings) -> Person:
    """The user of this machine: ``PHI3_USER`` or the system's user. An admin where there are no roles and no login.

    Raises BadInput where the secrets file can't be understood.
    """
    name, table = settings.user or _system_user(), _read_roles(settings)
    otherwise = "viewer" if table.model_fields_set or load_login(settings) else "admin"
    return Person(name, _highest(table, name, ()) or otherwise)


def signed_in_person(settings: Settings, email: str, groups: Collection[str] = ()) -> Person:
    """The person with this e-mail, with the highest role that the address or one of the groups has.

    Raises BadInput where the secrets file can't be understood.
    """
    table = _read_roles(settings)
    return Person(email, _highest(table, email, groups) or table.default, frozenset(groups))


def require(person: Person, role: str, act: str) -> None:
    """Raise Forbidden unless the person has the role. act: what is refused, as “promoting phi3/3”."""
    if not person.may(role):
        has = f"is a {person.role}" if person.role in ROLES else "has no role here"
        raise Forbidden(
            f"{act[:1].upper()}{act[1:]} needs the role {role}, and {person.name} {has}. "
            "An admin can change that under [roles] in the secrets file."
        )


def groups_claim(settings: Settings) -> str:
    """The claim of the ID token that lists a person's groups."""
    return _read_roles(settings).groups_claim


def _highest(table: _Roles, name: str, groups: Collection[str]) -> str:
    """The highest role that is given to the name or to one of the groups, "" where none is."""
    own = name.strip().casefold()
    names = {f"{_GROUP}{group}" for group in groups} | (set() if own.startswith(_GROUP) else {own})
    for role in reversed(ROLES):
        if any(_comparable(given) in names for given in getattr(table, role)):
            return role
    return ""


def _comparable(given: str) -> str:
    """Addresses in any case are the same; groups are what the provider calls them."""
    return given.strip() if given.startswith(_GROUP) else given.strip().casefold()


def _read_roles(settings: Settings) -> _Roles:
    return validate(_Roles, read_table(settings, "roles"), f"{settings.secrets}, [roles]")


def _system_user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):  # a container may run under a number that has no name
        return "unknown"
