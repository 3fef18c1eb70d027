"""Editing a version's description and tags."""

from __future__ import annotations

import pytest

from phi3core import tags
from phi3core.access.roles import Person
from phi3core.errors import BadInput, Forbidden, NotFound
from phi3core.registry import editor, reader
from phi3core.settings import Settings
from tests.support.fakes import register


def test_a_description_and_tags_are_edited_by_a_releaser(store: Settings, fresh: str) -> None:
    register(store, fresh, tags={"team": "search", "old": "yes"})
    bob, ref = Person("bob", "releaser"), f"{fresh}/1"

    editor.set_description(store, ref, " Trained on *recipes* ", bob)
    editor.set_tag(store, ref, " team ", "ads", bob)
    edited = editor.delete_tag(store, ref, "old", bob)

    assert edited == reader.get_version(store, ref)
    assert (edited.description, edited.tags) == ("Trained on *recipes*", {"team": "ads"})


def test_a_reviewer_edits_nothing(settings: Settings) -> None:
    register(settings, tags={"team": "search"})
    eve = Person("eve", "reviewer")

    for edit in (
        lambda: editor.set_description(settings, "phi3/1", "mine", eve),
        lambda: editor.set_tag(settings, "phi3/1", "team", "mine", eve),
        lambda: editor.delete_tag(settings, "phi3/1", "team", eve),
    ):
        with pytest.raises(Forbidden, match="needs the role releaser"):
            edit()

    assert reader.get_version(settings, "phi3/1").tags == {"team": "search"}
    assert reader.get_version(settings, "phi3/1").description == ""


@pytest.mark.parametrize("key", [tags.DIGEST, "phi3.anything", "PHI3.digest", "mlflow.user", "", "  "])
def test_tags_of_the_programs_are_not_edited(settings: Settings, key: str) -> None:
    register(settings, tags={tags.DIGEST: "123"})

    with pytest.raises(BadInput):
        editor.set_tag(settings, "phi3/1", key, "456")
    with pytest.raises(BadInput):
        editor.delete_tag(settings, "phi3/1", key)

    assert reader.get_version(settings, "phi3/1").tags == {tags.DIGEST: "123"}


def test_a_tag_that_is_not_there_is_not_taken_away(settings: Settings) -> None:
    register(settings)

    with pytest.raises(NotFound, match="phi3/1 has no tag “team”"):
        editor.delete_tag(settings, "phi3/1", "team")
