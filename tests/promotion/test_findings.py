"""Changes from outside: found, told, and obeyed or left."""

from __future__ import annotations

import pytest

from phi3core.errors import StoreError
from phi3core.promotion import promote as promote_module
from phi3core.promotion.aliases import assign, read_state
from phi3core.promotion.promote import set_alias
from phi3core.promotion.reconcile import reconcile
from phi3core.promotion.record import search, timeline
from phi3core.promotion.rollback import rollback
from phi3core.settings import Settings
from phi3core.store.client import mlflow_client
from tests.promotion.helpers import ADA, bury, sound, stages, told
from tests.support.fakes import register


def test_an_alias_that_was_moved_from_outside_is_obeyed_and_told_with_when(two: Settings) -> None:
    mlflow_client(two).set_registered_model_alias("phi3", "production", "3")

    seen = reconcile(two, "phi3")

    assert stages(two) == {1: "Archived", 2: "Archived", 3: "Production"}
    assert seen.messages[0].startswith("@production was moved from phi3/2 to phi3/3 from outside, between 20")
    assert told(two)[0] == ("found", "phi3/3", "None", "Production")
    assert sound(two)
    assert [(span.version, span.end is None) for span in timeline.spans(search.of_model(two, "phi3"))] == [
        (1, False),
        (2, False),
        (3, True),
    ]
    found = next(record for record in search.of_model(two, "phi3") if record.action == "found")
    assert (found.replaced, found.replaced_to, found.reason) == ("phi3/2", "Archived", seen.messages[0])
    assert rollback(two, "phi3", "nobody asked for it").version.ref == "phi3/2"


def test_an_alias_that_was_removed_from_outside_leaves_nobody_in_production(two: Settings) -> None:
    mlflow_client(two).delete_registered_model_alias("phi3", "production")

    seen = reconcile(two, "phi3")

    assert stages(two) == {1: "Archived", 2: "Archived", 3: "None"}
    assert seen.messages[0].startswith("@production was removed from phi3/2 from outside, between ")
    assert sound(two)
    assert timeline.spans(search.of_model(two, "phi3"))[-1].end is not None


def test_a_version_that_was_deleted_from_outside_is_told(two: Settings) -> None:
    mlflow_client(two).delete_model_version("phi3", "2")

    seen = reconcile(two, "phi3")

    assert seen.messages[0].startswith("phi3/2, in Production, was deleted from outside, between ")
    assert stages(two) == {1: "Archived", 3: "None"}
    assert sound(two)


def test_a_stage_without_an_alias_that_was_changed_from_outside_is_told_and_left(two: Settings) -> None:
    mlflow_client(two).transition_model_version_stage("phi3", "1", "None")

    seen = reconcile(two, "phi3")

    (sentence,) = seen.messages
    assert sentence.startswith("phi3/1 was moved from Archived to None from outside, between ")
    assert stages(two)[1] == "None"
    assert sound(two)


def test_a_staging_alias_that_was_set_from_outside_is_obeyed(two: Settings) -> None:
    mlflow_client(two).set_registered_model_alias("phi3", "staging", "3")

    reconcile(two, "phi3")

    assert stages(two) == {1: "Archived", 2: "Production", 3: "Staging"}
    assert sound(two)


def test_a_version_that_was_given_both_aliases_stays_in_production(two: Settings) -> None:
    mlflow_client(two).set_registered_model_alias("phi3", "staging", "2")

    seen = reconcile(two, "phi3")

    assert seen.messages[1:] == ["phi3/2 has both aliases, @production and @staging. @staging was removed from it."]
    assert stages(two) == {1: "Archived", 2: "Production", 3: "None"}
    assert read_state(two, "phi3").aliases == {"production": 2}
    assert sound(two)


def test_an_alias_that_a_record_set_and_that_was_moved_from_outside_is_told_and_left(two: Settings) -> None:
    set_alias(two, "phi3/1", "champion", person=ADA)
    mlflow_client(two).set_registered_model_alias("phi3", "champion", "3")

    (sentence,) = reconcile(two, "phi3").messages

    assert sentence.startswith("@champion was moved from phi3/1 to phi3/3 from outside, between ")
    assert told(two) == [("found", "phi3/3", "", "@champion")]
    assert stages(two) == {1: "Archived", 2: "Production", 3: "None"}  # an alias of another name says no stage
    assert sound(two)
    mlflow_client(two).transition_model_version_stage("phi3", "3", "Production")
    reconcile(two, "phi3")
    assert stages(two) == {1: "Archived", 2: "Production", 3: "None"}
    assert sound(two)


def test_an_alias_that_a_record_set_and_that_was_removed_from_outside_is_told(two: Settings) -> None:
    for number in (1, 3):
        set_alias(two, f"phi3/{number}", "champion", person=ADA)
    mlflow_client(two).delete_registered_model_alias("phi3", "champion")

    (sentence,) = reconcile(two, "phi3").messages

    assert sentence.startswith("@champion was removed from phi3/3 from outside, between ")
    assert told(two) == [("found", "phi3/3", "@champion", "")]
    assert sound(two)
    mlflow_client(two).set_registered_model_alias("phi3", "champion", "1")
    assert reconcile(two, "phi3").messages[0].startswith("@champion was moved to phi3/1 from outside")
    assert sound(two)


def test_an_alias_that_no_record_ever_set_is_left_untold(two: Settings) -> None:
    mlflow_client(two).set_registered_model_alias("phi3", "champion", "3")

    assert reconcile(two, "phi3").messages == []


def test_an_alias_that_was_set_very_many_records_ago_is_known_all_the_same(
    two: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_alias(two, "phi3/1", "champion", person=ADA)
    bury(two, monkeypatch)
    assert reconcile(two, "phi3").messages == []

    mlflow_client(two).set_registered_model_alias("phi3", "champion", "3")

    assert reconcile(two, "phi3").messages[0].startswith("@champion was moved from phi3/1 to phi3/3 from outside")
    assert reconcile(two, "phi3").messages == []


def test_an_alias_whose_change_failed_after_it_had_happened_is_not_told_as_from_outside(
    two: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_alias(two, "phi3/1", "champion", person=ADA)

    def late(settings: Settings, name: str, alias: str, number: int) -> None:
        assign(settings, name, alias, number)
        raise StoreError("the answer did not come")

    with monkeypatch.context() as patch:
        patch.setattr(promote_module, "assign", late)
        with pytest.raises(StoreError):
            set_alias(two, "phi3/3", "champion", person=ADA)

    (sentence,) = reconcile(two, "phi3").messages

    assert sentence.startswith("@champion was moved from phi3/1 to phi3/3 by what failed on 20")
    assert sound(two)


def test_a_model_that_has_only_an_alias_from_here_is_left_alone_by_its_stages(settings: Settings) -> None:
    register(settings)
    mlflow_client(settings).transition_model_version_stage("phi3", "1", "Production")
    set_alias(settings, "phi3/1", "champion", person=ADA)
    mlflow_client(settings).delete_registered_model_alias("phi3", "champion")

    assert len(reconcile(settings, "phi3").messages) == 1
    assert reconcile(settings, "phi3").messages == []
    assert stages(settings) == {1: "Production"}


def test_a_new_version_that_was_archived_from_outside_is_told(two: Settings) -> None:
    for number in (3, 4):
        if number == 4:
            register(two)
        mlflow_client(two).transition_model_version_stage("phi3", str(number), "Archived")

    (sentence,) = reconcile(two, "phi3").messages  # what the other one was before there were records is unknown

    assert sentence.startswith("phi3/4 was moved from None to Archived from outside, between ")
    assert sound(two)
