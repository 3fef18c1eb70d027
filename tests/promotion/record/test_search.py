"""Records are found in the store, page by page, and exported."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
import time
from datetime import timedelta
from typing import Any

import pytest

from phi3core import tags
from phi3core.errors import BadInput
from phi3core.promotion.record import search, writer
from phi3core.promotion.record.model import Record
from phi3core.settings import Settings
from phi3core.store.client import mlflow_client
from tests.promotion.record.helpers import BOB, add


@pytest.mark.parametrize("name", ["it's", 'a "b"', "a@b", "Φ", "50%"])
def test_records_of_odd_names_and_texts_are_found(settings: Settings, name: str) -> None:
    made = add(settings, model=name, reason="100 % = “all”")
    add(settings, model="other")

    assert [record.id for record in search.of_model(settings, name)] == [made.id]
    assert [record.id for record in search.page(settings, text="100 % =").records] == [made.id]


def test_pages_lead_from_the_newest_record_to_the_oldest(settings: Settings) -> None:
    made = [add(settings, version=number).id for number in range(1, 8)]

    found, token, pages = [], None, 0
    while True:
        page = search.page(settings, limit=3, token=token)
        found += [record.id for record in page.records]
        pages += 1
        if not (token := page.next):
            break

    assert found == made[::-1]
    assert pages == 3


def test_records_are_filtered_by_each_of_their_parts_and_by_all_together(settings: Settings) -> None:
    first = add(settings, reason="a Very fast one")
    start = writer.now()
    time.sleep(0.01)
    second = writer.append(settings, BOB, model="phi3", version=2, action="approve", request=first.id)
    third = add(settings, model="other", new="Production")
    with writer.opened(settings, BOB, model="phi3", version=2, action="copy") as opened:

        def found(**filters: Any) -> set[str]:
            return {record.id for record in search.page(settings, **filters).records}

        assert found() == {first.id, second.id, third.id, opened.id}
        assert found(model="phi3") == {first.id, second.id, opened.id}
        assert found(version=2) == {second.id, opened.id}
        assert found(action="approve") == {second.id}
        assert found(user="bob@example.org") == {second.id, opened.id}
        assert found(status="open") == {opened.id}
        assert found(status="done") == {first.id, second.id, third.id}
        assert found(since=start + timedelta(milliseconds=5)) == {second.id, third.id, opened.id}
        assert found(until=start) == {first.id}
        assert found(text="very FAST") == {first.id}
        assert found(new="Production") == {third.id}
        assert found(request=first.id) == {second.id}
        assert found(model="phi3", user="bob@example.org", status="done") == {second.id}
        assert found(model="nothing") == set()


def test_no_records_yet_is_an_empty_page_and_makes_nothing(settings: Settings) -> None:
    assert search.page(settings).records == ()
    assert search.of_model(settings, "phi3") == []
    assert search.verify(settings, "phi3") == []
    assert mlflow_client(settings).get_experiment_by_name(tags.PROMOTIONS) is None


def test_an_export_has_every_record_and_every_part(three: Settings) -> None:
    listed = search.of_model(three, "phi3")

    lines = list(csv.DictReader(io.StringIO(search.export(listed, "csv"))))
    plain = json.loads(search.export(listed, "json"))

    assert (
        [line["reason"] for line in lines] == [one["reason"] for one in plain] == ["reason 3", "reason 2", "reason 1"]
    )
    assert set(lines[0]) == set(plain[0]) == {field.name for field in dataclasses.fields(Record)}
    assert plain[0]["started"] == listed[0].started.isoformat()
    assert (lines[0]["version"], plain[0]["version"]) == ("3", 3)
    with pytest.raises(BadInput, match="Write csv or json"):
        search.export(listed, "xml")


def test_an_exported_reason_can_not_become_a_formula(settings: Settings) -> None:
    made = add(settings, reason='=HYPERLINK("http://evil")')

    (line,) = csv.DictReader(io.StringIO(search.export([made], "csv")))

    assert line["reason"] == '\'=HYPERLINK("http://evil")'


def test_a_page_out_of_very_many_records_comes_at_once(settings: Settings) -> None:
    """Written straight into the database, as ten thousand promotions would take minutes."""
    import sqlite3

    made = add(settings, reason="the one")
    many, tag_values = 10_000, mlflow_client(settings).get_run(made.id).data.tags
    with sqlite3.connect(settings.home / "mlflow.db") as database:
        columns = [row[1] for row in database.execute("PRAGMA table_info(runs)")]
        (pattern,) = database.execute(f"SELECT {','.join(columns)} FROM runs WHERE run_uuid = ?", (made.id,))
        row = dict(zip(columns, pattern, strict=True))
        rows = [row | {"run_uuid": f"{n:032x}", "start_time": row["start_time"] - n - 1} for n in range(many)]
        database.executemany(
            f"INSERT INTO runs ({','.join(columns)}) VALUES ({','.join('?' * len(columns))})",
            [tuple(one.values()) for one in rows],
        )
        database.executemany(
            "INSERT INTO tags (key, value, run_uuid) VALUES (?, ?, ?)",
            [
                (key, f"phi3-{n % 100}" if key == tags.MODEL_NAME else value, f"{n:032x}")
                for n in range(many)
                for key, value in tag_values.items()
                if key != tags.REASON
            ],
        )
    search.page(settings)  # warm

    def seconds(**filters: Any) -> float:
        began = time.perf_counter()
        page = search.page(settings, limit=50, **filters)
        assert len(page.records) == filters.pop("expected", 50)
        return time.perf_counter() - began

    token = search.page(settings, limit=50).next
    took = {
        "newest": min(seconds() for _ in range(3)),
        "second": min(seconds(token=token) for _ in range(3)),
        "of a model": min(seconds(model="phi3-7", status="done") for _ in range(3)),
    }
    assert max(took.values()) < 0.3, took
