"""Lists what a source holds, without its weights: of a folder here, or of a repository by asking the hub."""

from __future__ import annotations

from phi3core.errors import SourceError

from .fetch import licence_of
from .hub import list_repository
from .source import Listing, Report, Source, find_folder


def list_source(source: Source, report: Report) -> Listing:
    """Look at a folder, or ask the hub and fetch the small files.

    Raises:
        NotFound: there is no such folder, repository or revision.
        SourceError: the hub can't be reached, or the folder can't be read.
    """
    if source.kind == "hub":
        return list_repository(source, report)
    folder = find_folder(source)
    try:
        sizes = {path.name: path.stat().st_size for path in folder.iterdir() if path.is_file()}
    except OSError as error:
        raise SourceError(f"The folder {folder} can't be read ({error}). Check its permissions.") from error
    return Listing(folder, sizes, "", licence_of(folder), is_here=True)
