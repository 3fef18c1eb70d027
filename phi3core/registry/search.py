"""A snapshot of all versions in memory, searched by words, filters and an order. Asks no store."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from functools import cached_property
from typing import Any

from phi3core import tags
from phi3core.errors import BadInput

from .models import Version

_MOST_ANSWERS = 50  # of a snapshot, that are remembered


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
class Query:
    """Filters that must all be met (an empty one is none), and an order.

    text: words that must all occur in the name, number, description, tags, aliases or owner. model: the whole name.
    source: a part of the source's tag. tag: a name, or “name=value”. sort: name, version, stage, size, created, owner
    or a metric's name; versions without it come last.
    """

    text: str = ""
    model: str = ""
    stage: str = ""
    alias: str = ""
    wrapper: str = ""
    source: str = ""
    tag: str = ""
    owner: str = ""
    sort: str = "created"
    descending: bool = True


@dataclass(frozen=True)
class SearchResult:
    """A page of the versions that were found.

    total: of all pages. age: of the snapshot, None before the first scan. error: why the snapshot is not newer, as a
    sentence; empty when all is well.
    """

    versions: tuple[Version, ...]
    total: int
    page: int
    page_count: int
    age: timedelta | None
    error: str


@dataclass(frozen=True)
class IndexEntry:
    """A version, and in small letters all of it that is searched by words."""

    version: Version
    text: str


@dataclass(frozen=True)
class Snapshot:
    """All versions as they were at one moment. models: by name, newest version first. read_at: by the index's clock."""

    models: dict[str, tuple[IndexEntry, ...]] = field(default_factory=dict)
    read_at: float | None = None
    # A page asks the same again whenever it is drawn.
    _answers: dict[Query, list[Version]] = field(default_factory=dict, init=False, repr=False, compare=False)

    @property
    def entries(self) -> Iterator[IndexEntry]:
        return (entry for entries in self.models.values() for entry in entries)

    @cached_property
    def filter_options(self) -> FilterOptions:
        return collect_filter_options(self.models, self.entries)

    def find(self, query: Query) -> list[Version]:
        """The versions that meet a query, in its order. Raises BadInput for a sort that no version has."""
        if (hits := self._answers.get(query)) is None:
            entries = self.models.get(query.model, ()) if query.model else self.entries
            hits = sort_versions(filter_entries(entries, query), query, self.filter_options.metrics)
            if len(self._answers) < _MOST_ANSWERS:
                self._answers[query] = hits
        return hits


def index_entry(version: Version) -> IndexEntry:
    """A version with the text that is searched."""
    parts = [
        version.ref,
        version.description,
        version.owner,
        version.stage,
        *(f"@{alias}" for alias in version.aliases),
    ]
    for name, value in version.tags.items():
        if name.startswith("phi3."):
            parts.append(value)  # our tags' names would be found by every word in them
        elif not name.startswith("mlflow."):
            parts.append(f"{name}={value}")
    return IndexEntry(version, "\n".join(parts).lower())


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


def filter_entries(entries: Iterable[IndexEntry], query: Query) -> list[Version]:
    """The versions that meet the query's filters, in the order they are in."""
    words = query.text.lower().split()
    tests = list(_tests(query))
    return [
        entry.version
        for entry in entries
        if all(word in entry.text for word in words) and all(test(entry.version) for test in tests)
    ]


def sort_versions(versions: list[Version], query: Query, metrics: tuple[str, ...]) -> list[Version]:
    """In the query's order. metrics: the names there are. Raises BadInput for a sort that is none of them."""
    sort = query.sort
    if versions and sort not in _SORTS and sort not in metrics:
        raise BadInput(f"Nothing is sorted by “{sort}”: take {', '.join(_SORTS)} or a metric.")
    by: Callable[[Version], Any] = _SORTS.get(sort) or (lambda version: version.metrics.get(sort))
    keyed = [(by(version), version) for version in versions]
    having = [pair for pair in keyed if pair[0] is not None]
    having.sort(key=lambda pair: pair[0], reverse=query.descending)
    return [version for _, version in having] + [version for key, version in keyed if key is None]


def _distinct(names: Iterable[str]) -> tuple[str, ...]:
    return tuple(sorted(set(names) - {""}, key=str.lower))


def _tests(query: Query) -> Iterator[Callable[[Version], bool]]:
    """What a version must meet, for each filter of the query but its words and its model."""
    alias, source, owner = query.alias.removeprefix("@"), query.source.lower(), query.owner.lower()
    if query.stage:
        yield lambda version: version.stage == query.stage
    if alias:
        yield lambda version: alias in version.aliases
    if query.wrapper:
        yield lambda version: version.wrapper == query.wrapper
    if source:
        yield lambda version: source in version.tags.get(tags.SOURCE, "").lower()
    if query.tag:
        name, given, value = query.tag.partition("=")
        yield lambda version: (version.tags.get(name) == value) if given else name in version.tags
    if owner:
        yield lambda version: version.owner.lower() == owner


_SORTS: dict[str, Callable[[Version], Any]] = {
    "name": lambda version: (version.name.lower(), version.version),
    "version": lambda version: version.version,
    "stage": lambda version: tags.STAGES.index(version.stage) if version.stage in tags.STAGES else None,
    "size": lambda version: version.size,
    "created": lambda version: version.created,
    "owner": lambda version: version.owner.lower() or None,
}
