"""What a model server is told of the version that it is to serve, and of the cell that it is to do it in."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from phi3core.access.model_rights import load_rights
from phi3core.cell import cell
from phi3core.engine.loader import is_ours
from phi3core.errors import SourceError
from phi3core.hashing import folder_size
from phi3core.registry.models import Version
from phi3core.settings import Settings

from . import memory


def make_order(settings: Settings, version: Version) -> dict[str, Any]:
    """The order, without what depends on the version's files: see child/main.py.

    Raises:
        BadInput: the secrets file can't be understood.
    """
    network = load_rights(settings, version.name).network
    return {
        "ref": version.ref,
        "names": [version.ref],
        "local": True,
        "trusted": version.name in settings.trusted,
        "network": network,
        "cell": None if cell.why_none() else {"network": network, "file_size": cell.FILE_SIZE},
        **{name: getattr(settings, name) for name in ("parallel", "queue", "strict")},
    }


def memory_limit(folder: Path, code: bool) -> int:
    """Bytes of memory that a model server may take; 0 for as many as there are.

    Told by the files alone, for anybody who may write to the store can write tags. What is opened on its weights has
    none: what it keeps of conversations counts as its data, and the engine lets that grow into what is free.

    Args:
        folder: the version's files.
        code: it may run the code that is in them.
    """
    try:
        if is_ours(folder) and not code:
            return 0
    except SourceError:
        pass  # the model server tells what is wrong with the files
    return memory.ceiling(memory.needed(folder, folder_size(folder), ""))
