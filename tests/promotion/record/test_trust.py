"""Records that were edited or made up are no way back, and in no timeline."""

from __future__ import annotations

import dataclasses

import pytest

from phi3core import tags
from phi3core.errors import Conflict
from phi3core.promotion.promote import promote
from phi3core.promotion.reconcile import reconcile
from phi3core.promotion.record import search, timeline
from phi3core.promotion.rollback import previous_version, rollback
from phi3core.settings import Settings
from phi3core.store.client import mlflow_client
from tests.promotion.record.helpers import plain, unsealed
from tests.support.fakes import register


def test_a_record_without_a_seal_is_no_way_back_and_in_no_timeline(settings: Settings) -> None:
    for number in (1, 2):
        register(settings)
        tag_values = {tags.ACTION: "promote", tags.VERSION: f"{number}", tags.FROM: "None", tags.TO: "Production"}
        unsealed(settings, 1000 * number, **tag_values)
    mlflow_client(settings).set_registered_model_alias("phi3", "production", "2")

    with pytest.raises(Conflict, match="know no version that was in Production before"):
        rollback(settings, "phi3", "slow")
    assert timeline.spans(search.of_model(settings, "phi3")) == []
    assert all("it has no seal" in sentence for sentence in search.verify(settings, "phi3"))
    assert len(search.verify(settings, "phi3")) == 2


@pytest.mark.parametrize("how", ["edited", "made up"])
def test_a_record_that_was_edited_or_made_up_is_not_in_the_timeline_and_no_way_back(three: Settings, how: str) -> None:
    for number in (1, 2):
        promote(three, f"phi3/{number}", "Staging")
    register(three)  # phi3/4, which was never in Production
    if how == "edited":
        second = next(r for r in search.of_model(three, "phi3") if (r.version, r.new) == (2, "Production"))
        mlflow_client(three).set_tag(second.id, tags.VERSION, "4")
    else:
        unsealed(three, **{tags.ACTION: "promote", tags.VERSION: "4", tags.TO: "Production"})

    listed = search.of_model(three, "phi3")

    assert 4 not in [span.version for span in timeline.spans(listed)]
    assert 4 not in timeline.earlier(listed)
    before = previous_version(three, "phi3")
    assert before is not None
    assert before.version == (1 if how == "edited" else 2)


def test_without_its_key_a_timeline_is_told_and_a_look_changes_nothing_but_nobody_rolls_back_by_it(
    three: Settings,
) -> None:
    keyed = dataclasses.replace(three, record_key="secret")
    for number in (1, 2):
        promote(keyed, f"phi3/{number}", "Production")
    many = len(search.of_model(three, "phi3"))

    assert reconcile(three, "phi3").messages == []
    assert len(search.of_model(three, "phi3")) == many
    assert timeline.spans(search.of_model(three, "phi3"))[-1].version == 2
    with pytest.raises(Conflict, match="sealed with a key. Set PHI3_RECORD_KEY"):
        rollback(three, "phi3", "slow")
    assert rollback(keyed, "phi3", "slow").version.version == 1


def test_with_a_key_a_promotion_that_was_made_up_without_it_is_no_way_back(three: Settings) -> None:
    keyed = dataclasses.replace(three, record_key="secret")
    promote(keyed, "phi3/1", "Production")
    register(three)
    for at in (None, 1):  # with its own time, and set back to before there was a key
        plain(three, at, **{tags.ACTION: "promote", tags.VERSION: "4", tags.FROM: "None", tags.TO: "Production"})

    before = previous_version(keyed, "phi3")

    assert before is not None
    assert before.version == 3
    assert any("sealed without the key" in sentence for sentence in search.verify(keyed, "phi3"))
