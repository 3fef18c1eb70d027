"""The files of a version that moves: read once before the lock is taken, and compared again while it is held.

Reading them may mean fetching gigabytes, which must not be done while other promotions wait for the lock. So while it
is held files that are elsewhere are compared by name and size, and by what an object store says of them, with what they
were when they were read.
"""

from __future__ import annotations

from typing import Any

from phi3core import tags
from phi3core.errors import Conflict, Phi3Error, StoreError
from phi3core.registry import artifacts
from phi3core.registry.models import Version
from phi3core.settings import Settings

from .snapshot import EXCLUSIVE_STAGES

LINE = "files"
"""The name of the line in a record's checks that says how the files were compared."""

_UNCHECKED = "The digest is as registered, not checked: nothing that was asked for here needed the files to be read."


class Files:
    """The state of the files for one move. Nothing is read before it is asked for."""

    def __init__(self, settings: Settings, version: Version) -> None:
        self._settings, self._version = settings, version
        self._state: artifacts.ArtifactState | None = None
        self._failed: Phi3Error | None = None
        self._locked = False
        self._marks = ""

    def read(self) -> artifacts.ArtifactState:
        """Their state with the digest. Raises NotFound, StoreError, StoreDown, Conflict."""
        if self._failed:
            raise self._failed
        if self._state is None:
            try:
                self._state = self._read()
            except Phi3Error as error:
                self._failed = error
                raise
        return self._state

    def lock_taken(self) -> None:
        """From now on other promotions wait. Raises Conflict where the files have changed since they were read."""
        self._locked = True
        if self._state is None:
            return
        now = artifacts.read_state(self._settings, self._version)
        marks = artifacts.hash_etags(self._settings, self._version)
        if now.remote and (now.listing, marks) != (self._state.listing, self._marks):
            raise Conflict(f"The files of {self._version.ref} were changed at this moment. Look, and try again.")
        self._state = self._state if now.remote else now

    def digest(self, stage: str) -> tuple[str, list[dict[str, Any]]]:
        """What a move to a stage records: the digest, and a line that says so where it was not checked."""
        # A version must be able to leave a stage, whatever became of its files. Where they could not be read, an admin
        # has overridden that.
        unread = stage not in EXCLUSIVE_STAGES or isinstance(self._failed, StoreError)
        if not unread and (self._state or artifacts.is_local(self._settings, self._version)):
            return self.read().digest, []
        registered = self._version.tags.get(tags.DIGEST, "")
        return registered, [{"name": LINE, "met": True, "says": _UNCHECKED}] if registered else []

    def _read(self) -> artifacts.ArtifactState:
        self._marks = artifacts.hash_etags(self._settings, self._version)  # before: it may change while it is fetched
        state = artifacts.read_state(self._settings, self._version, fetch=not self._locked)
        if self._locked and state.remote:  # what needs them came up after they had been compared
            raise Conflict(f"What a move of {self._version.ref} needs was changed at this moment. Look, and try again.")
        return state
