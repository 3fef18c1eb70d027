"""Whether the code of a version may run, as the pool asks it: by a function that it is given, and none by default."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from pathlib import Path

from phi3core.engine.loader import UNTRUSTED, is_ours, needs_code
from phi3core.errors import Forbidden, SourceError, StoreError
from phi3core.registry.models import Version
from phi3core.settings import Settings

from .handle import ModelServer

_GOOD = 30.0  # seconds that an approval is good for while its model server runs

Approve = Callable[[Settings, Version, Path], bool]
"""Whether the code in these files of the version may run. May raise StoreError."""


def approve_none(_settings: Settings, _version: Version, _folder: Path) -> bool:
    """No code that neither wrapper wrote."""
    return False


def may_run(settings: Settings, version: Version, folder: Path, approve: Approve) -> bool:
    """Whether code of the version may run. Raises Forbidden where it may not and the version is nothing without it."""
    try:
        needed, ours = needs_code(folder), is_ours(folder)
    except SourceError:
        return False  # the model server tells what is wrong with the files
    if ours and not needed:
        return False
    if approve(settings, version, folder):
        return True
    if needed:
        raise Forbidden(f"{version.ref} is not opened. {UNTRUSTED.format(ref=version.ref)}")
    return False


def check_again(settings: Settings, server: ModelServer, approve: Approve) -> None:
    """Stop a running server whose approval was taken back. Raises Forbidden."""
    if not server.runs_code or server.seconds_approved < _GOOD:
        return
    with contextlib.suppress(StoreError):  # a store that is away stops nothing
        if not approve(settings, server.version, server.folder):
            server.close()
            raise Forbidden(f"{server.ref} was stopped. {UNTRUSTED.format(ref=server.ref)}")
        server.note_approval()
