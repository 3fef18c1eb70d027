"""Who reads a conversation: everybody with a role, or, where PHI3_PRIVATE says so, its author and the admins alone."""

from __future__ import annotations

from phi3core.settings import Settings

from .roles import Person, local_person


def may_read(settings: Settings, author: str, person: Person | None) -> bool:
    """Whether a person reads what this author began. person: by default the user of this machine."""
    return reads_all(settings, person) or author.casefold() == (person or local_person(settings)).name.casefold()


def reads_all(settings: Settings, person: Person | None) -> bool:
    """Whether a person reads everybody's conversations. person: by default the user of this machine."""
    return not settings.private or (person or local_person(settings)).may("admin")
