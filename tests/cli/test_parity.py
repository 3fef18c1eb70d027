"""phi3 parity."""

from __future__ import annotations

from datetime import UTC, datetime

import numpy as np
import pytest

from phi3core.build import jobs
from phi3core.build.parity.comparing import make_report
from phi3core.build.parity.results import Parity, artifact_name
from phi3core.build.parity.statistics import Rows
from phi3core.registry import reader
from phi3core.settings import Settings
from phi3core.store.client import mlflow_client
from tests.app.builds import past_build
from tests.cli.commands import done, refused


def test_it_says_what_came_out_in_the_words_of_llama_cpp(phi3: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = Rows(np.array([0.1, 0.3]), np.array([1.0, 0.0]), np.array([1.0, 1.0]), np.array([1.0, 1.0]))
    report = make_report(["prose"], [rows], [])
    found = Parity("phi3/2", "source", "embedded, in float32", datetime.now(UTC), 9.0, report)
    run_id = reader.get_version(phi3, "phi3/2").run_id
    mlflow_client(phi3).log_text(run_id, found.to_json(), artifact_name("source"))
    job = past_build(phi3, "FINISHED", version=2, measures="phi3/2")
    asked: list[tuple[str, str]] = []
    monkeypatch.setattr(jobs, "start_parity", lambda config, ref, base: asked.append((ref, base)) or job)

    told = done("parity", "phi3/2")

    assert asked == [("phi3/2", "")]
    assert "phi3/2 against embedded, in float32" in told
    assert "Mean    KLD                0.2000 ± 0.1000, 95 % from 0.0040 to 0.3960" in told
    assert "Same top p                 50.00 ± 50.00 %, 2 tokens" in told
    assert "  prose: mean KLD 0.2000 ± 0.1000, 2 tokens" in told


def test_what_cant_be_compared_is_refused_with_a_sentence(phi3: Settings) -> None:
    assert "phi3/1 can't be measured: neither of our wrappers made it" in refused("parity", "phi3/1")
    assert "endpoint:azure can't be measured" in refused("parity", "endpoint:azure")
    assert jobs.list_recent(phi3) == []
