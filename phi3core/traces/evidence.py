"""What counts as evidence of how good a version is, where a promotion rests on it. All of it is listed here.

- A thumb that a person gave to an answer that the version gave through this app (`feedback.read_reviews`).
- A person's vote between two such answers of two versions (`votes.search_votes`); a later vote replaces an earlier one.
- A policy's number of reviews is a number of people, however many thumbs and votes each of them gave
  (`feedback.Reviews.reviewers`).
- A closed review, by its votes of people without names; a complete evaluation, by its scorers over a prompt set whose
  items the policy names: as this app computed them then, sealed, of the very files of both versions
  (promotion/policy/evidence.py). The newest of the files as they are counts, whatever an earlier one said.
- A decision on a request, a record of a tag, of a review, of an evaluation: by their seals (promotion/record/trust.py).

Not: an answer from a file, or its copy in a branch, which anybody may have written; a thumb or a vote that a judge or a
script gave; what a version's tags, or an evaluation's traces and metrics, say in the store.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from phi3core import tags

from .turn_trace import read_origin

if TYPE_CHECKING:
    from mlflow.entities import TraceInfo


def is_evidence(info: TraceInfo) -> bool:
    """Whether a trace's answer was given by the version that it names, as far as this app can know.

    In a conversation from a file, one that is not marked may have been imported by an app that did not mark them yet.
    """
    mark = info.tags.get(tags.IMPORTED, "")
    if mark:
        return mark == "false"
    origin = read_origin(info)
    return origin is None or origin.kind != "import"
