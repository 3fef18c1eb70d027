"""phi3 measure."""

from __future__ import annotations

import pytest

from phi3core import tags
from phi3core.build import jobs
from phi3core.registry import reader
from phi3core.settings import Settings
from phi3core.store.client import mlflow_client
from tests.app.builds import past_build
from tests.cli.commands import done, refused
from tests.support.conditions import QUIET


def test_it_says_what_came_out_and_where(phi3: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    run_id, store = reader.get_version(phi3, "phi3/2").run_id, mlflow_client(phi3)
    for name, value in QUIET.as_tag(1).items():
        store.set_tag(run_id, name, value)
    store.log_metric(run_id, tags.TOKENS_PER_SECOND, 210.0, step=1)
    job = past_build(phi3, "FINISHED", version=2, measures="phi3/2")
    monkeypatch.setattr(jobs, "start_measuring", lambda config, ref: {"phi3/2": job}[ref])

    told = done("measure", "phi3/2")

    assert "Wait until the machine is idle" in told
    assert told.splitlines()[-1] == "phi3/2: 210 tokens/s on AMD EPYC <b>9R14</b>, 2 cores, 3 % busy, 28 Nov 2026."


def test_what_cant_be_measured_is_refused_with_a_sentence(phi3: Settings) -> None:
    assert "endpoint:azure can't be measured" in refused("measure", "endpoint:azure")
    assert "phi3/1 can't be measured: neither of our wrappers made it" in refused("measure", "phi3/1")
    assert jobs.list_recent(phi3) == []
