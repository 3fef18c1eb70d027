"""What people say to each other about a review: about an item, about a version, or about all of it.

A comment is a tag of the review's run, with a name of its own, so that two at once are both kept.
"""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from phi3core import tags
from phi3core.access import roles
from phi3core.access.roles import Person
from phi3core.clean_text import clean, without_control
from phi3core.errors import BadInput, Forbidden
from phi3core.settings import Settings
from phi3core.store.client import mlflow_client, translate_errors
from phi3core.timestamps import now_ms

from .board import board_of
from .item_state import same
from .items import items_of
from .review import Review, read_run

LONGEST = 2000
"""Letters of a comment: MLflow cuts a run's tag at 8,000 without a word."""

_MENTION = re.compile(r"(?<![\w@])@([\w.+-]+(?:@[\w-]+(?:\.[\w-]+)+)?)")


@dataclass(frozen=True)
class Comment:
    """Something that was said. about: an item's id, a version's reference, or "" for all of it.

    at: milliseconds since 1970.
    """

    about: str
    by: str
    text: str
    at: int

    def mentions(self, person: Person) -> bool:
        """Whether it calls a person: by the whole address behind an @, or by what is before the address's own."""
        own = {person.name.casefold(), person.name.casefold().partition("@")[0]}
        return any(name.rstrip(".").casefold() in own for name in _MENTION.findall(self.text))


def comment(settings: Settings, review: Review, about: str, text: str, person: Person) -> None:
    """Say something. about: as in `Comment`.

    Raises:
        Forbidden: the person is a viewer, or would judge the item first.
        BadInput: it is empty or too long, or about nothing that is in the review.
        StoreDown: the store does not answer.
    """
    roles.require(person, "reviewer", "commenting on a review")
    text = without_control(text.strip())
    if not text or len(text) > LONGEST:
        raise BadInput(f"Write something, at most {LONGEST:,} letters.")
    if about and about not in review.refs and about not in items_of(settings, review):
        raise BadInput("What you comment on is not in this review.")
    if not may_see(settings, review, about, person):
        raise Forbidden("Judge this item first: what others say of it is shown after that.")
    told = {"about": about, "by": person.name, "text": text}
    name = f"{tags.COMMENT}{now_ms()}.{secrets.token_hex(4)}"
    with translate_errors(settings):
        mlflow_client(settings).set_tag(review.id, name, json.dumps(clean(told), ensure_ascii=False))


def may_see(settings: Settings, review: Review, about: str, person: Person) -> bool:
    """Whether a person sees what is said of an item or version, which would tell them what others think of it.

    An item's is for those who judged it; a version's, and all of it, for who runs the review; then for everybody.
    """
    if review.closed or review.is_run_by(person) or not about:
        return True
    state = board_of(settings, review).standing().states.get(about)
    return state is not None and state.vote_of(person.name) is not None


def read_comments(settings: Settings, review: Review, person: Person) -> list[Comment]:
    """What was said that the person may see, oldest first. Raises StoreDown."""
    found = comments_of(read_run(settings, review.id).data.tags)
    return [one for one in found if may_see(settings, review, one.about, person)]


def comments_of(known: Mapping[str, str]) -> list[Comment]:
    """The comments in the tags of a review's run, oldest first. What another program wrote there is left out."""
    found = []
    for name, value in known.items():
        at = name.removeprefix(tags.COMMENT).partition(".")[0]
        if not name.startswith(tags.COMMENT) or not at.isdecimal():
            continue
        try:
            told = json.loads(value)
            found.append(Comment(str(told["about"]), str(told["by"]), str(told["text"]), int(at)))
        except (ValueError, KeyError, TypeError, RecursionError):
            continue
    return sorted(found, key=lambda one: one.at)


def unanswered(comments: Iterable[Comment], person: Person) -> list[Comment]:
    """Those that call the person, who has said nothing on the same matter since; newest first."""
    listed = [*comments]
    answered: dict[str, int] = {}
    for one in listed:
        if same(one.by, person.name):
            answered[one.about] = max(one.at, answered.get(one.about, 0))
    calls = [one for one in listed if one.mentions(person) and not same(one.by, person.name)]
    return sorted((one for one in calls if one.at > answered.get(one.about, 0)), key=lambda one: -one.at)
