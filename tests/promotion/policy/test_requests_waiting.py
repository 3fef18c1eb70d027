"""The list of requests that wait: read in a few calls, and kept up to date."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest
from mlflow.entities import Run

from phi3core.promotion.policy import policy, requests
from phi3core.promotion.policy.policy import Policy
from phi3core.promotion.promote import promote
from phi3core.promotion.record import search, writer
from phi3core.promotion.record.model import Record
from phi3core.promotion.record.search import of_run
from phi3core.registry import reader
from phi3core.registry.models import Version
from phi3core.settings import Settings
from phi3core.store.client import mlflow_client
from tests.promotion.policy.helpers import ROB, WEIGHTS
from tests.support import fakes
from tests.support.judging import ADA, BOB, ROOT, folder_of, version_with_files


def test_what_has_ended_is_not_read_again(
    settings: Settings, version: Version, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(requests, "_CLOCKS", timedelta())
    read: list[str] = []

    def noted(run: Run, key: str) -> Record:
        read.append(run.info.run_id)
        return of_run(run, key)

    for number in range(3):
        asked = requests.ask(settings, version.ref, "Production", f"Try {number}.", ADA)
        requests.decide(settings, asked.id, "reject", "No.", BOB)
        requests.withdraw(settings, asked.id, "", ADA)
    assert requests.waiting(settings) == []
    monkeypatch.setattr(search, "of_run", noted)
    asked = requests.ask(settings, version.ref, "Production", "At last.", ADA)
    read.clear()

    assert [(r.id, r.status) for r in requests.waiting(settings)] == [(asked.id, "open")]
    assert read == [asked.id]
    read.clear()
    requests.decide(settings, asked.id, "approve", "", BOB)
    other = requests.ask(settings, version.ref, "Staging", "Fast.", ADA)
    assert [(r.id, r.status) for r in requests.waiting(settings)] == [(other.id, "open"), (asked.id, "approved")]
    requests.decide(settings, other.id, "reject", "No.", BOB)
    assert [r.id for r in requests.waiting(settings)] == [asked.id]
    requests.decide(settings, other.id, "approve", "Well.", BOB)
    assert [r.id for r in requests.waiting(settings)] == [other.id, asked.id]
    promote(settings, version.ref, "Production", "", ROB, request=asked.id)
    assert [r.id for r in requests.waiting(settings)] == [other.id]


def test_a_promotion_that_was_under_way_for_long_ends_its_request_in_the_list_too(
    settings: Settings, version: Version, asked: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(requests, "_CLOCKS", timedelta())
    with writer.opened(
        settings, ROB, model="phi3", version=1, action="promote", old="None", new="Production", request=asked
    ):
        for _ in range(2):
            assert [r.id for r in requests.waiting(settings)] == [asked]
    assert requests.waiting(settings) == []
    assert requests.waiting(settings) == []


def test_what_was_taken_out_of_the_record_is_seen_when_everything_is_read_again(
    settings: Settings, asked: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    requests.decide(settings, asked, "approve", "", BOB)
    assert [r.status for r in requests.waiting(settings)] == ["approved"]
    step = next(r for r in search.of_model(settings, "phi3") if r.action == "approve")
    mlflow_client(settings).delete_run(step.id)

    monkeypatch.setattr(requests, "_WHOLE", 0.0)

    fakes.until(lambda: [r.status for r in requests.waiting(settings)] == ["open"])


def test_requests_of_many_models_are_listed_in_a_few_calls(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(6):
        made = version_with_files(settings, tmp_path, f"model-{number}")
        asked = requests.ask(settings, made.ref, "Staging", "Fast.", ADA)
        requests.decide(settings, asked.id, "approve", "", BOB)
    policy.write(settings, "model-3", "Staging", Policy(approvals=2), ROOT)
    counting = fakes.CountingClient(mlflow_client(settings))
    for module in (search, policy, reader):
        monkeypatch.setattr(module, "mlflow_client", lambda _: counting)

    found = requests.waiting(settings)

    assert [(r.model, r.status) for r in found] == [
        (f"model-{number}", "open" if number == 3 else "approved") for number in reversed(range(6))
    ]
    assert sum(counting.calls.values()) <= 3, counting.calls
    counting.calls.clear()
    assert requests.waiting(settings) == found
    assert sum(counting.calls.values()) <= 2, counting.calls
    (folder_of(reader.get_version(settings, "model-5/1")) / WEIGHTS).write_bytes(b"weightS")
    assert [r.model for r in requests.waiting(settings)] == [f"model-{number}" for number in reversed(range(5))]
