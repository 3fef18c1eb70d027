"""Promotions at the same moment, of machines that share no lock, and of processes that do.

Some run by default, on SQLite; test_sample.py runs a few on each store. ``make test-races`` runs them all everywhere.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import pytest

from phi3core.promotion.aliases import read_state
from phi3core.promotion.promote import promote
from phi3core.promotion.reconcile import reconcile
from phi3core.promotion.record import search, timeline
from phi3core.settings import Settings
from tests.races.conftest import ALL, SHARE
from tests.races.race import judge, racers
from tests.support.fakes import register

COUNTS = {2: 2 * SHARE, 8: max(1, SHARE // 2)} if ALL else {2: 6, 8: 2}

pytestmark = pytest.mark.timeout(3600 if ALL else 600)


@pytest.mark.parametrize("promoters", COUNTS)
def test_promoters_on_as_many_machines_leave_exactly_one_version_in_production(
    everywhere: Settings, fresh: str, tmp_path: Path, promoters: int
) -> None:
    homes = [tmp_path / f"machine-{number}" for number in range(promoters)]
    with racers(everywhere, fresh, homes) as race:
        for _ in range(COUNTS[promoters]):
            before = read_state(everywhere, fresh).stages
            judge(race, before, race.run())
    assert search.verify(everywhere, fresh) == []


def test_promoters_of_one_machine_come_one_after_the_other_and_all_succeed(
    everywhere: Settings, fresh: str, tmp_path: Path
) -> None:
    with racers(everywhere, fresh, [tmp_path / "machine"] * 4) as race:
        for _ in range(max(1, SHARE // 5) if ALL else 3):
            before = read_state(everywhere, fresh).stages
            ended = race.run()
            judge(race, before, ended)
            assert {one.how for one in ended} == {"done"}
    assert search.verify(everywhere, fresh) == []


def test_promoters_in_threads_of_one_process_come_one_after_the_other_and_all_succeed(
    settings: Settings, fresh: str
) -> None:
    for _ in range(4):
        register(settings, fresh)
    start = Barrier(4)

    def act(number: int) -> str:
        start.wait(30)
        return promote(settings, f"{fresh}/{number}", "Production").record

    with ThreadPoolExecutor(4) as pool:
        done = list(pool.map(act, (1, 2, 3, 4)))

    now, listed = read_state(settings, fresh), search.of_model(settings, fresh)
    assert sorted(now.stages.values()) == ["Archived", "Archived", "Archived", "Production"]
    assert reconcile(settings, fresh).messages == []
    assert {record.id for record in listed} == set(done)
    assert {record.status for record in listed} == {"done"}
    assert timeline.holder(listed, "Production") == now.holder("Production")
    assert search.verify(settings, fresh) == []
