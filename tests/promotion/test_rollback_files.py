"""A rollback is to the same files, or an admin goes on with a reason."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from phi3core import tags
from phi3core.errors import Conflict, Forbidden, NotFound
from phi3core.promotion.policy import requests
from phi3core.promotion.promote import promote
from phi3core.promotion.reconcile import reconcile
from phi3core.promotion.record import search
from phi3core.promotion.rollback import rollback
from phi3core.registry import artifacts, reader
from phi3core.registry.models import Version
from phi3core.settings import Settings
from phi3core.store.client import mlflow_client
from tests.promotion.policy.helpers import ROB, WEIGHTS, made_up
from tests.support.judging import ADA, ROOT, folder_of, version_in_store, version_with_files


@pytest.fixture
def two(store: Settings, fresh: str, tmp_path: Path) -> Callable[[str, bytes], None]:
    """Two versions that were in Production one after the other, and what writes into a file of the first."""
    first, write = version_in_store(store, tmp_path, fresh)
    second, _ = version_in_store(store, tmp_path, fresh)
    made = requests.ask(store, first.ref, "Production", "Fast.", ADA)
    promote(store, first.ref, "Production", "", ROB, request=made.id)
    promote(store, second.ref, "Production", "", ROB)
    return write


def test_a_rollback_to_files_that_changed_is_refused_and_an_admin_overrides_it_with_the_reason(
    store: Settings, fresh: str, two: Callable[[str, bytes], None]
) -> None:
    two(WEIGHTS, b"weightS")  # as many bytes

    with pytest.raises(Conflict, match="not those that were in Production.* Promote another version, or build .*admin"):
        rollback(store, fresh, "It loops.", ROB)
    with pytest.raises(Forbidden, match="admin"):
        rollback(store, fresh, "It loops.", ROB, override=True)
    assert reader.get_version(store, f"{fresh}@production").version == 2

    done = rollback(store, fresh, "It loops.", ROOT, override=True)

    record = search.get(store, done.record)
    assert (done.version.version, record.reason, record.override) == (1, "It loops.", "It loops.")
    assert record.digest == artifacts.compute_digest(store, done.version)


def test_a_rollback_to_the_same_files_overrides_nothing_though_an_admin_would(
    store: Settings, fresh: str, two: Callable[[str, bytes], None]
) -> None:
    record = search.get(store, rollback(store, fresh, "It loops.", ROOT, override=True).record)

    assert (record.version, record.override) == (1, "")
    assert record.digest == artifacts.compute_digest(store, reader.get_version(store, f"{fresh}/1"))


def test_a_rollback_minds_the_files_that_a_promotion_recorded_and_no_record_that_was_edited_or_made_up(
    settings: Settings, version: Version, tmp_path: Path
) -> None:
    promote(settings, version.ref, "Production", "", ROB)
    promote(settings, version_with_files(settings, tmp_path).ref, "Production", "", ROB)
    (folder_of(version) / WEIGHTS).write_bytes(b"weightS")
    changed = artifacts.compute_digest(settings, version)
    made_up(settings, None, **{tags.ACTION: "promote", tags.FROM: "None", tags.DIGEST: changed})
    mlflow_client(settings).set_registered_model_alias("phi3", "production", "1")
    reconcile(settings, "phi3")  # finds it, and knows no digest
    mlflow_client(settings).set_registered_model_alias("phi3", "production", "2")
    reconcile(settings, "phi3")

    with pytest.raises(Conflict, match="not those that were in Production"):
        rollback(settings, "phi3", "It loops.", ROB)


def test_a_rollback_to_files_that_cannot_be_read_is_refused_and_overridden_like_one_to_others(
    settings: Settings, tmp_path: Path
) -> None:
    first, second = version_with_files(settings, tmp_path), version_with_files(settings, tmp_path)
    mlflow_client(settings).set_model_version_tag("phi3", "1", tags.DIGEST, "d" * 64)
    promote(settings, first.ref, "Production", "", ROB)
    promote(settings, second.ref, "Production", "", ROB)
    (folder_of(first) / WEIGHTS).unlink()
    (folder_of(first) / WEIGHTS).symlink_to("/proc/self/mem")

    with pytest.raises(Conflict, match="Nobody can tell .* Promote another version"):
        rollback(settings, "phi3", "It loops.", ROB)

    record = search.get(settings, rollback(settings, "phi3", "It loops.", ROOT, override=True).record)
    assert (record.version, record.override, record.digest) == (1, "It loops.", "d" * 64)
    assert "as registered, not checked" in record.checks[-1]["says"]
    promote(settings, second.ref, "Production", "", ROB)
    shutil.rmtree(folder_of(first))
    with pytest.raises(NotFound, match="gone"):
        rollback(settings, "phi3", "It loops.", ROOT, override=True)
