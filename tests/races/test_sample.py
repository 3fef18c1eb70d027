"""A few races and kills on each store, with the ordinary tests: a store may fail where two meet in its own way."""

from __future__ import annotations

from pathlib import Path

import pytest

from phi3core.promotion.aliases import read_state
from phi3core.promotion.record import search
from phi3core.settings import Settings
from tests.races.conftest import ALL
from tests.races.kill import ACTS, killed, prepare
from tests.races.kill import judge as judge_killed
from tests.races.race import judge, racers
from tests.support.stores import STORES

KILLED = dict(zip(ACTS, (4, 3, 4, 3), strict=True))
"""After which of its writes each act is killed: the alias has moved, and not everything that follows it."""

pytestmark = [pytest.mark.timeout(600), pytest.mark.skipif(ALL, reason="all of them are run")]


@pytest.mark.parametrize("store", STORES[1:], indirect=True)  # more are run on SQLite
def test_a_few_races_leave_exactly_one_version_in_production_on_each_store(
    store: Settings, fresh: str, tmp_path: Path
) -> None:
    with racers(store, fresh, [tmp_path / "one-machine", tmp_path / "another"]) as race:
        for _ in range(3):
            before = read_state(store, fresh).stages
            judge(race, before, race.run())
    assert search.verify(store, fresh) == []


def test_a_promoter_that_was_killed_at_each_act_leaves_everything_in_order_on_each_store(
    store: Settings, fresh: str
) -> None:
    prepare(store, fresh)
    for act, last in KILLED.items():
        before = read_state(store, fresh)
        assert killed(store, ACTS[act](fresh), last), act
        judge_killed(store, fresh, act, before, act)
        assert read_state(store, fresh).aliases != before.aliases, act
    assert read_state(store, fresh).stages == {1: "Archived", 2: "None", 3: "Archived", 4: "Staging"}
