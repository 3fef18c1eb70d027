"""Editing a version's description and tags."""

from __future__ import annotations

from pathlib import Path

import pytest

from phi3core import tags
from phi3core.access.roles import Person
from phi3core.errors import BadInput, Forbidden, NotFound
from phi3core.promotion import edit
from phi3core.promotion.copy import copy_version
from phi3core.promotion.policy import policy
from phi3core.promotion.policy.checks import checklist
from phi3core.promotion.policy.policy import Policy
from phi3core.promotion.record import search
from phi3core.registry import reader
from phi3core.settings import Settings
from phi3core.store.client import mlflow_client
from tests.support.fakes import register
from tests.support.judging import ROOT, version_with_files


def test_a_description_and_tags_are_edited_by_a_releaser(store: Settings, fresh: str) -> None:
    register(store, fresh, tags={"team": "search", "old": "yes"})
    bob, ref = Person("bob", "releaser"), f"{fresh}/1"

    edit.set_description(store, ref, " Trained on *recipes* ", bob)
    edit.set_tag(store, ref, " team ", "ads", bob)
    edited = edit.delete_tag(store, ref, "old", bob)

    assert edited == reader.get_version(store, ref)
    assert (edited.description, edited.tags) == ("Trained on *recipes*", {"team": "ads"})


def test_a_reviewer_edits_nothing(settings: Settings) -> None:
    register(settings, tags={"team": "search"})
    eve = Person("eve", "reviewer")

    for change in (
        lambda: edit.set_description(settings, "phi3/1", "mine", eve),
        lambda: edit.set_tag(settings, "phi3/1", "team", "mine", eve),
        lambda: edit.delete_tag(settings, "phi3/1", "team", eve),
    ):
        with pytest.raises(Forbidden, match="needs the role releaser"):
            change()

    assert reader.get_version(settings, "phi3/1").tags == {"team": "search"}
    assert reader.get_version(settings, "phi3/1").description == ""


@pytest.mark.parametrize("key", [tags.DIGEST, "phi3.anything", "PHI3.digest", "mlflow.user", "", "  "])
def test_tags_of_the_programs_are_not_edited(settings: Settings, key: str) -> None:
    register(settings, tags={tags.DIGEST: "123"})

    with pytest.raises(BadInput):
        edit.set_tag(settings, "phi3/1", key, "456")
    with pytest.raises(BadInput):
        edit.delete_tag(settings, "phi3/1", key)

    assert reader.get_version(settings, "phi3/1").tags == {tags.DIGEST: "123"}


def test_a_tag_that_is_not_there_is_not_taken_away(settings: Settings) -> None:
    register(settings)

    with pytest.raises(NotFound, match="phi3/1 has no tag “team”"):
        edit.delete_tag(settings, "phi3/1", "team")


# ---------------------------------------------------------------- on record, and as evidence


def test_each_edit_is_a_record_with_who_why_and_what_it_was_before(settings: Settings) -> None:
    register(settings, tags={"team": "search"})
    bob = Person("bob", "releaser")

    edit.set_description(settings, "phi3/1", "Trained on recipes", bob, "For readers")
    edit.set_tag(settings, "phi3/1", "team", "ads", bob, "It moved")
    edit.delete_tag(settings, "phi3/1", "team", bob)

    told = [(r.action, r.old, r.new, r.user, r.role, r.reason, r.status) for r in search.of_model(settings, "phi3")]
    assert told == [
        ("delete tag", "team=ads", "", "bob", "releaser", "", "done"),
        ("set tag", "team=search", "team=ads", "bob", "releaser", "It moved", "done"),
        ("describe", "", "Trained on recipes", "bob", "releaser", "For readers", "done"),
    ]
    assert search.verify(settings, "phi3") == []


@pytest.mark.parametrize("value", ["x" * 5000, "=cmd()\n\n[x](http://evil.example)"])
def test_any_value_fits_into_its_record(settings: Settings, value: str) -> None:
    register(settings)
    edit.set_tag(settings, "phi3/1", "note", value, ROOT)
    edit.set_description(settings, "phi3/1", value, ROOT)
    assert [record.status for record in search.of_model(settings, "phi3")] == ["done", "done"]


def test_a_tag_that_a_policy_asks_for_is_an_admins(settings: Settings) -> None:
    register(settings, tags={"evaluated": "no"})
    policy.write(settings, "phi3", "Production", Policy(tags=("evaluated=yes",)), ROOT)
    bob = Person("bob", "releaser")

    for change in (
        lambda: edit.set_tag(settings, "phi3/1", "evaluated", "yes", bob),
        lambda: edit.delete_tag(settings, "phi3/1", "evaluated", bob),
    ):
        with pytest.raises(Forbidden, match="which the policy of phi3 asks for, needs the role admin"):
            change()
    edit.set_tag(settings, "phi3/1", "team", "ads", bob)
    edit.set_tag(settings, "phi3/1", "evaluated", "yes", ROOT)

    version = reader.get_version(settings, "phi3/1")
    assert version.tags == {"evaluated": "yes", "team": "ads"}
    met, says = next((c.met, c.says) for c in checklist(settings, version, "Production") if c.name == "tag evaluated")
    assert met
    assert "as root@example.org set it" in says


def test_a_damaged_policy_opens_no_way_to_its_tags(settings: Settings) -> None:
    register(settings)
    mlflow_client(settings).set_registered_model_tag("phi3", tags.POLICY, "{half")
    with pytest.raises(Forbidden, match="admin"):
        edit.set_tag(settings, "phi3/1", "evaluated", "yes", Person("bob", "releaser"))


def test_a_tag_that_a_releaser_set_before_the_policy_asked_for_it_does_not_count(settings: Settings) -> None:
    register(settings)
    edit.set_tag(settings, "phi3/1", "evaluated", "yes", Person("bob", "releaser"))
    policy.write(settings, "phi3", "Production", Policy(tags=("evaluated",)), ROOT)

    def check() -> tuple[bool, str]:
        version = reader.get_version(settings, "phi3/1")
        checks = checklist(settings, version, "Production")
        return next((c.met, c.says) for c in checks if c.name == "tag evaluated")

    assert check() == (False, "It is “yes”, which bob set as a releaser; an admin has to set it.")
    mlflow_client(settings).set_model_version_tag("phi3", "1", "evaluated", "by the job")  # past the app, as jobs do
    assert check() == (True, "It is “by the job”.")


def test_a_copy_leaves_behind_what_the_other_models_policy_asks_for(settings: Settings, tmp_path: Path) -> None:
    ref = version_with_files(settings, tmp_path).ref
    bob = Person("bob", "releaser")
    edit.set_tag(settings, ref, "evaluated", "yes", bob)
    edit.set_tag(settings, ref, "team", "ads", bob)
    mlflow_client(settings).create_registered_model("edge")
    policy.write(settings, "edge", "Production", Policy(tags=("evaluated", f"{tags.WRAPPER}=onnx")), ROOT)

    copied = reader.get_version(settings, copy_version(settings, ref, "edge", bob).ref)

    assert (copied.tags.get("evaluated"), copied.tags["team"], copied.tags[tags.WRAPPER]) == (None, "ads", "onnx")
