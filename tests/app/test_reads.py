"""What pages read: kept for a while, anew after a change, the last known while a newer reading is under way."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime

import pytest
import streamlit as st

from pages.components.shared import reads
from phi3core.errors import StoreDown
from phi3core.registry.models import Version
from tests.support import fakes


class Store:
    """Answers with how often it was asked; each answer waits for `open`."""

    def __init__(self) -> None:
        self.asked, self.open = 0, threading.Event()
        self.open.set()
        self.failure: Exception | None = None

    def ask(self, name: str = "") -> str:
        self.asked += 1
        answer = f"{name}{self.asked}"
        assert self.open.wait(10)
        if self.failure:
            raise self.failure
        return answer


@pytest.fixture
def store() -> Store:
    return Store()


def test_a_reading_serves_until_it_is_too_old(store: Store) -> None:
    assert [reads.read("Reading …", store.ask, max_age=60) for _ in range(3)] == ["1", "1", "1"]
    assert reads.read("Reading …", store.ask, max_age=0) == "2"
    assert reads.read("Reading …", store.ask, max_age=60) == "2"


def test_each_arguments_have_a_reading_of_their_own(store: Store) -> None:
    assert reads.read("Reading …", store.ask, "a", max_age=60) == "a1"
    assert reads.read("Reading …", store.ask, "b", max_age=60) == "b2"
    assert reads.read("Reading …", store.ask, "a", max_age=60) == "a1"


def test_a_version_built_again_under_its_number_is_another_one() -> None:
    def describe(version: Version) -> str:
        return version.description

    version = Version("phi3", 1, "None", (), "Old", {}, datetime.now(UTC), "", "models:/m-1", "READY", {})
    again = replace(version, description="New", source="models:/m-2")
    assert reads.read("Reading …", describe, version, max_age=60) == "Old"
    assert reads.read("Reading …", describe, replace(version, stage="Staging"), max_age=60) == "Old"
    assert reads.read("Reading …", describe, again, max_age=60) == "New"


def test_after_a_change_everything_is_read_anew_and_the_last_known_is_shown_meanwhile(store: Store) -> None:
    assert reads.read("Reading …", store.ask, max_age=60) == "1"
    reads.invalidate()
    store.open.clear()
    shown = reads.latest(store.ask, max_age=60, patience=0)
    assert (shown.value, shown.pending, shown.error) == ("1", True, "")
    assert shown.age is not None
    assert 0 <= shown.age < 60
    store.open.set()
    assert reads.read("Reading …", store.ask, max_age=60) == "2"
    assert reads.latest(store.ask, max_age=60).value == "2"


def test_what_was_asked_before_a_change_is_no_answer_after_it(store: Store) -> None:
    store.open.clear()
    assert reads.latest(store.ask, patience=0) == reads.Reading(None, None, "", True)
    reads.invalidate()
    store.open.set()
    assert reads.read("Reading …", store.ask, max_age=60) == "2"


def test_one_reading_under_way_serves_all_who_ask(store: Store) -> None:
    store.open.clear()
    reads.latest(store.ask, patience=0)
    reads.latest(store.ask, patience=0)
    store.open.set()
    assert reads.read("Reading …", store.ask, max_age=60) == "1"
    assert store.asked == 1


def test_a_failure_is_told_beside_the_last_known_and_tried_again(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    assert reads.latest(store.ask, max_age=60, patience=5).value == "1"
    reads.invalidate()
    store.failure = StoreDown("The MLflow store does not answer.")
    shown = reads.latest(store.ask, max_age=60, patience=5)
    assert (shown.value, shown.error, shown.pending) == ("1", "The MLflow store does not answer.", False)
    assert reads.latest(store.ask, max_age=60, patience=5).error
    assert store.asked == 2  # not again within the second
    with pytest.raises(StoreDown):  # who waits for it is answered by a try of their own
        reads.read("Reading …", store.ask, max_age=60)
    store.failure = None
    monkeypatch.setattr(reads, "_RETRY", 0.0)
    assert reads.latest(store.ask, max_age=60, patience=5).value == "4"


def test_what_is_no_error_of_ours_is_raised(store: Store) -> None:
    store.failure = ZeroDivisionError()
    with pytest.raises(ZeroDivisionError):
        reads.latest(store.ask, patience=5)
    with pytest.raises(ZeroDivisionError):
        reads.wait_for("Reading …", store.ask)


def test_nothing_of_what_is_only_waited_for_is_shared(store: Store) -> None:
    assert [reads.wait_for("Reading …", store.ask) for _ in range(2)] == ["1", "2"]


def test_the_readings_that_were_asked_for_longest_ago_go_first(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reads, "_MOST", 2)
    for name in ("a", "b", "a", "c"):
        reads.read("Reading …", store.ask, name, max_age=60)
    assert store.asked == 3
    assert reads.read("Reading …", store.ask, "a", max_age=60) == "a1"
    assert reads.read("Reading …", store.ask, "b", max_age=60) == "b4"


def test_a_click_elsewhere_ends_the_wait_and_not_the_reading(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    class Left(BaseException):
        """As Streamlit ends a script: where it draws."""

    class Place:
        def empty(self) -> None:
            raise Left

    monkeypatch.setattr(st, "empty", Place)
    store.open.clear()
    with pytest.raises(Left):
        reads.read("Reading …", store.ask, max_age=60)
    store.open.set()
    fakes.until(lambda: reads.latest(store.ask, patience=0).value == "1")


def test_a_wait_that_may_be_long_offers_its_end(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    offered: list[tuple[str, str]] = []

    class Place:
        def button(self, label: str, icon: str, key: str, on_click: Callable[[], object]) -> None:
            on_click()
            offered.append((label, key))
            store.open.set()

        def empty(self) -> None:
            """Nothing is taken away here."""

    monkeypatch.setattr(st, "empty", Place)
    assert reads.read("Reading …", store.ask, max_age=0) == "1"
    assert offered == []  # it was there in a moment

    store.open.clear()
    ended: list[str] = []
    found = reads.read("Reading …", store.ask, max_age=0, stop="stop_reading", on_stop=lambda: ended.append("it"))
    assert (found, ended) == ("2", ["it"])
    assert offered == [("Stop", "stop_reading")]
