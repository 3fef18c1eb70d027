"""Whether several versions can be open at once, told before any of them is asked."""

from __future__ import annotations

from collections.abc import Iterable

from phi3core.errors import ServerError
from phi3core.hashing import folder_size
from phi3core.registry import artifacts
from phi3core.registry.models import Version
from phi3core.settings import Settings
from phi3core.text import join_words

from . import memory
from .pool import Pool


def check_room(settings: Settings, pool: Pool, versions: Iterable[Version]) -> None:
    """Raise ServerError where the memory of this machine is too short for all of the versions at once.

    Other model servers are taken for ones that can be stopped.
    """
    chosen = [*versions]
    wanted = {(version.ref, version.source): version for version in chosen}
    free, need = memory.available(), 0
    for server in pool.running():
        if wanted.pop((server.ref, server.version.source), None) is None:
            free += server.memory_taken
    for version in wanted.values():
        folder = artifacts.local_folder(settings, version)
        need += memory.needed(folder, folder_size(folder) if folder else version.size or 0, version.wrapper)
    if need > free:
        refs, free_size = join_words(version.ref for version in chosen), memory.format_size(free)
        raise ServerError(
            f"{refs} at once take about {memory.format_size(need)} more memory, and {free_size} are free "
            "on this machine. Choose fewer or smaller versions, or end other programs."
        )
