"""What a search of the index finds, as references."""

from __future__ import annotations

from phi3core.registry.index import Index


def refs(index: Index, **wanted: object) -> list[str]:
    return [version.ref for version in index.search(**{"sort": "name", "descending": False} | wanted).versions]  # type: ignore[arg-type]
