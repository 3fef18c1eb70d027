"""That a version's folder is data, before a job opens its weights. No trust in its code changes that for a job."""

from __future__ import annotations

from pathlib import Path

from phi3core.engine.loader import find_weights, is_ours, needs_code
from phi3core.errors import Forbidden, StoreError
from phi3core.links import find_link_out


def require_data(folder: Path, ref: str) -> None:
    """Check that a logged model is opened on its weights alone, and on those in its folder.

    ref: the version, for the errors.

    Raises:
        Forbidden: something in the folder would be run.
        StoreError: a link, or the place that is named for the weights, leads out of the folder.
        SourceError: the folder holds no model.
    """
    if needs_code(folder) or not is_ours(folder):
        raise Forbidden(
            f"{ref} can't be opened without running code that this app's wrappers did not write, and a job runs none, "
            "trusted or not. Build the version again from its source."
        )
    if link := find_link_out(folder):
        raise StoreError(f"{link} is a link out of {ref}'s folder, and is not followed. Put the file itself there.")
    weights, inside = find_weights(folder), folder.resolve()
    if not all(path.resolve().is_relative_to(inside) for path in (weights.folder, weights.tokenizer)):
        raise StoreError(f"The weights of {ref} are said to be outside of its folder, and are not read there.")
