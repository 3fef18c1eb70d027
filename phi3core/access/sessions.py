"""Sign-ins that are open: a file each in the home, so that a sign-out ends one on the server.

Streamlit's cookie is a signed token, good for a month wherever a copy of it is kept, and as good when somebody else
signed it with a stolen secret. Here it counts only while a file says so that was written when the provider sent its
person back: until the sign-out, or for the hours that [auth] gives. Knows nothing of cookies and of pages.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from pathlib import Path
from typing import Any

from phi3core.settings import Settings

_HOUR = 3600  # seconds


def identify(cookie: str, claims: bytes) -> str:
    """The id of a sign-in: the hash of its signed cookie and of the claims in it, which may lie in further cookies."""
    return hashlib.sha256(cookie.encode() + b"\n" + claims).hexdigest()


def open_session(settings: Settings, id: str, email: str, hours: float) -> None:
    """Let this sign-in count from now on, for so many hours. Raises OSError."""
    settings.sessions.mkdir(mode=0o700, exist_ok=True)
    for file in settings.sessions.iterdir():
        if "." not in file.name and not _counts(file):  # else it is being written
            file.unlink(missing_ok=True)
    path = settings.sessions / id
    part = path.with_suffix(f".{os.getpid()}")
    part.touch(0o600)
    part.write_text(json.dumps({"email": email, "until": time.time() + hours * _HOUR}))
    part.replace(path)  # at once: what reads it never finds half of it


def is_open(settings: Settings, id: str) -> bool:
    """Whether this sign-in counts: it is known, was not ended, and its hours are not over."""
    return _counts(settings.sessions / id)


def is_due(settings: Settings, id: str, seconds: float) -> bool:
    """Whether it is so long since this sign-in was found in order, by the provider or here; from now on it is not.

    So only one of several that ask at once is told yes. False for a sign-in that has ended.
    """
    file, now = settings.sessions / id, time.time()
    try:
        if now - file.stat().st_mtime < seconds:
            return False
        os.utime(file, (now, now))
    except OSError:
        return False
    return True


def end_session(settings: Settings, id: str) -> None:
    """Let this sign-in count no more."""
    (settings.sessions / id).unlink(missing_ok=True)


def end_sessions(settings: Settings, email: str) -> int:
    """Let no sign-in of this person count any more. Returns how many there were."""
    ended = 0
    for file in [*settings.sessions.iterdir()] if settings.sessions.is_dir() else []:
        found = _read(file)
        if found is not None and found["email"].casefold() == email.strip().casefold():
            file.unlink(missing_ok=True)
            ended += 1
    return ended


def _counts(file: Path) -> bool:
    found = _read(file)
    return found is not None and time.time() < found["until"]


def _read(file: Path) -> dict[str, Any] | None:
    """What is kept of a sign-in; None where it is not there or can't be read, which lets nobody in."""
    try:
        found = json.loads(file.read_text())
        return {"email": str(found["email"]), "until": float(found["until"])}
    except (OSError, ValueError, TypeError, KeyError):
        return None
