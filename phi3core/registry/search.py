"""Searching versions that are in memory: by words, filters and an order. Knows no store."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from phi3core import tags
from phi3core.errors import BadInput

from .models import Version


@dataclass(frozen=True)
class FilterOptions:
    """What there is to filter and sort by, each sorted: tags are their names, metrics too."""

    models: tuple[str, ...] = ()
    aliases: tuple[str, ...] = ()
    wrappers: tuple[str, ...] = ()
    sources: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    owners: tuple[str, ...] = ()
    metrics: tuple[str, ...] = ()


@dataclass(frozen=True)
class SearchResult:
    """A page of what was searched. total: of all pages. age: of the copy, None before the first reading.

    trouble: why the copy is not newer, as a sentence; empty when all is well.
    """

    versions: tuple[Version, ...]
    total: int
    page: int
    page_count: int
    age: timedelta | None
    error: str


@dataclass(frozen=True)
class IndexEntry:
    version: Version
    text: str
    """All that is searched by words, in small letters."""


def index_entry(version: Version) -> IndexEntry:
    said = [version.ref, version.description, version.owner, version.stage, *(f"@{alias}" for alias in version.aliases)]
    for name, value in version.tags.items():
        if name.startswith("phi3."):
            said.append(value)  # the names of ours would answer to every word in them
        elif not name.startswith("mlflow."):
            said.append(f"{name}={value}")
    return IndexEntry(version, "\n".join(said).lower())


def collect_filter_options(models: Iterable[str], entries: Iterable[IndexEntry]) -> FilterOptions:
    """What the entries give to choose from."""
    versions = [entry.version for entry in entries]
    names = (name for version in versions for name in version.tags)
    return FilterOptions(
        models=tuple(models),
        aliases=_distinct(alias for version in versions for alias in version.aliases),
        wrappers=_distinct(version.wrapper for version in versions),
        sources=_distinct(version.tags.get(tags.SOURCE, "") for version in versions),
        tags=_distinct(name for name in names if not name.startswith("mlflow.")),
        owners=_distinct(version.owner for version in versions),
        metrics=_distinct(name for version in versions for name in version.metrics),
    )


def filter_entries(
    entries: Iterable[IndexEntry], text: str, stage: str, alias: str, wrapper: str, source: str, tag: str, owner: str
) -> list[Version]:
    """The versions that meet all that is given, in the order they are in. Index.search says what each one means."""
    words = text.lower().split()
    wanted = list(_tests(stage, alias.removeprefix("@"), wrapper, source.lower(), tag, owner.lower()))
    return [
        entry.version
        for entry in entries
        if all(word in entry.text for word in words) and all(test(entry.version) for test in wanted)
    ]


def sort_versions(versions: list[Version], sort: str, descending: bool, metrics: tuple[str, ...]) -> list[Version]:
    """Sorted, those without what is sorted by last. metrics: the names there are. Raises BadInput for any other."""
    if versions and sort not in _SORTS and sort not in metrics:
        raise BadInput(f"Nothing is sorted by “{sort}”: take {', '.join(_SORTS)} or a metric.")
    by: Callable[[Version], Any] = _SORTS.get(sort) or (lambda version: version.metrics.get(sort))
    keyed = [(by(version), version) for version in versions]
    having = [pair for pair in keyed if pair[0] is not None]
    having.sort(key=lambda pair: pair[0], reverse=descending)
    return [version for _, version in having] + [version for key, version in keyed if key is None]


def _distinct(names: Iterable[str]) -> tuple[str, ...]:
    return tuple(sorted(set(names) - {""}, key=str.lower))


def _tests(
    stage: str, alias: str, wrapper: str, source: str, tag: str, owner: str
) -> Iterator[Callable[[Version], bool]]:
    """What a version must meet, for each filter that is given."""
    if stage:
        yield lambda version: version.effective_stage == stage
    if alias:
        yield lambda version: alias in version.aliases
    if wrapper:
        yield lambda version: version.wrapper == wrapper
    if source:
        yield lambda version: source in version.tags.get(tags.SOURCE, "").lower()
    if tag:
        name, given, value = tag.partition("=")
        yield lambda version: (version.tags.get(name) == value) if given else name in version.tags
    if owner:
        yield lambda version: version.owner.lower() == owner


_SORTS: dict[str, Callable[[Version], Any]] = {
    "name": lambda version: (version.name.lower(), version.version),
    "version": lambda version: version.version,
    "stage": lambda version: (
        tags.STAGES.index(version.effective_stage) if version.effective_stage in tags.STAGES else None
    ),
    "size": lambda version: version.size,
    "created": lambda version: version.created,
    "owner": lambda version: version.owner.lower() or None,
}
