"""The API keys of /v1: the secrets file holds the SHA-256 of each, and its owner's e-mail.

[keys]
9f86d0…0a08 = "ada@example.org"
"""

from __future__ import annotations

import hashlib
import secrets
from typing import Any

from pydantic import field_validator

from phi3core.settings import Settings
from phi3core.validation import Table, validate

from .login import load_login, read_table
from .roles import Person, local_person, signed_in_person


class _Keys(Table):
    """The [keys] table. emails: SHA-256 of a key → e-mail."""

    emails: dict[str, str]

    @field_validator("emails", mode="before")
    @classmethod
    def _as_written_by_the_command(cls, table: dict[str, Any]) -> dict[str, Any]:
        for digest, email in table.items():
            if len(digest) != 64 or not isinstance(email, str) or not email:
                raise ValueError(f"“{digest[:12]}…” is not as “python -m phi3core key EMAIL” writes it.")
        return table


def person_with_key(settings: Settings, key: str) -> Person | None:
    """The owner of an API key, None where it is unknown. ``PHI3_API_KEY`` is the local user's.

    Raises BadInput where the secrets file can't be understood.
    """
    digest = hash_key(key)
    own = [(hash_key(settings.api_key), "")] if settings.api_key else []
    found = None
    for known_digest, email in [*own, *_read_emails(settings).items()]:
        if secrets.compare_digest(known_digest, digest):  # all are compared, so that the time it takes says nothing
            found = email
    if found is None:
        return None
    return signed_in_person(settings, found) if found else local_person(settings)


def key_required(settings: Settings) -> bool:
    """Whether /v1 asks for a key: there is one, or there is a login."""
    return bool(settings.api_key or _read_emails(settings) or load_login(settings))


def generate_key() -> str:
    """A new random key. Only its owner ever sees it; the file keeps its hash."""
    return f"phi3-{secrets.token_urlsafe(32)}"


def hash_key(key: str) -> str:
    """What is kept of a key. It is long and random, so that a plain SHA-256 can't be guessed back."""
    return hashlib.sha256(key.encode()).hexdigest()


def _read_emails(settings: Settings) -> dict[str, str]:
    return validate(_Keys, {"emails": read_table(settings, "keys")}, f"{settings.secrets}, [keys]").emails
