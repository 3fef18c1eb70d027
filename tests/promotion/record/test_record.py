"""The record of what was done: complete, searched in the store, sealed, and exported."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from phi3core import tags
from phi3core.access.roles import Person
from phi3core.errors import BadInput, Conflict, Forbidden, NotFound
from phi3core.promotion.promote import previous_version, promote, rollback
from phi3core.promotion.reconcile import reconcile
from phi3core.promotion.record import seal, search, timeline, writer
from phi3core.promotion.record.model import Record
from phi3core.promotion.record.timeline import Span
from phi3core.settings import Settings
from phi3core.store.client import experiment_id, mlflow_client
from tests.support import prepared
from tests.support.fakes import register

ADA, BOB = Person("ada@example.org", "releaser"), Person("bob@example.org", "admin")


def add(settings: Settings, **given: Any) -> Record:
    return writer.append(settings, ADA, **({"model": "phi3", "version": 1, "action": "request"} | given))


def unsealed(settings: Settings, at: int | None = None, **tag_values: str) -> str:
    """A record as anybody can make one with MLflow's own API; at: milliseconds since 1970. Its id."""
    known = {tags.MODEL_NAME: "phi3", tags.USER: "mallory", **tag_values}
    run = mlflow_client(settings).create_run(experiment_id(settings, tags.PROMOTIONS), at, known)
    mlflow_client(settings).set_terminated(run.info.run_id)
    return str(run.info.run_id)


def plain(settings: Settings, at: int | None = None, **tag_values: str) -> str:
    """The same by somebody who computes the seals too, but has no key."""
    at = at or int(time.time() * 1000)
    known = {tags.MODEL_NAME: "phi3", tags.USER: "mallory", **tag_values}
    known[tags.SEAL] = seal.of_intent(known, at, "")
    known |= {tags.STATUS: "done", tags.OUTCOME: "Done.", tags.ENDED: str(at)}
    known[tags.CLOSING] = seal.of_result(known, "")
    return unsealed(settings, at, **known)


@pytest.fixture(scope="session")
def three_once(tmp_path_factory: pytest.TempPathFactory, empty_store: Path) -> Path:
    def make(settings: Settings) -> None:
        for number in (1, 2, 3):
            register(settings)
            promote(settings, f"phi3/{number}", "Production", f"reason {number}", ADA)

    return prepared.once(tmp_path_factory.mktemp("three"), empty_store, make)


@pytest.fixture
def three(three_once: Path, settings: Settings) -> Settings:
    """A store with phi3/1, phi3/2 and phi3/3, and three promotions to Production in that order."""
    return prepared.copied(three_once, settings)


# ---------------------------------------------------------------- what it says


def test_a_record_says_everything_that_it_was_given(settings: Settings) -> None:
    checks = [{"name": "approvals", "met": True, "says": "2 of 2: ada, “bob”"}]

    made = add(
        settings, version=3, action="approve", old="None", new="Staging", replaced="phi3/1", replaced_to="Archived",
        reason=" tried it ", digest="d1", checks=checks, override="urgent", request="r1",
    )  # fmt: skip

    (read,) = search.of_model(settings, "phi3")
    assert read == made
    assert (read.model, read.version, read.action, read.old, read.new) == ("phi3", 3, "approve", "None", "Staging")
    assert (read.replaced, read.replaced_to, read.reason) == ("phi3/1", "Archived", "tried it")
    assert (read.user, read.role, read.host) == ("ada@example.org", "releaser", writer.host(settings))
    assert (read.digest, read.checks, read.override, read.request) == ("d1", tuple(checks), "urgent", "r1")
    assert (read.status, read.outcome, read.intact, read.previous) == ("done", "Done.", True, "")
    assert read.ended is not None
    assert timedelta() <= datetime.now(UTC) - read.started < timedelta(minutes=1)


def test_a_record_is_open_while_the_change_is_under_way_and_done_after(settings: Settings) -> None:
    with writer.opened(settings, ADA, model="phi3", version=1, action="copy", reason="because") as record:
        (during,) = search.of_model(settings, "phi3")
        record.outcome = "It is copied."
    (after,) = search.of_model(settings, "phi3")

    assert (during.id, during.status, during.outcome, during.ended) == (record.id, "open", "", None)
    assert during.intact
    assert writer.alive(settings, during) is False  # it was when it was read
    assert (after.status, after.outcome, after.intact) == ("done", "It is copied.", True)


def test_whoever_has_a_record_open_is_alive(settings: Settings, tmp_path: Any) -> None:
    with writer.opened(settings, ADA, model="phi3", version=1, action="copy"):
        (during,) = search.of_model(settings, "phi3")
        assert writer.alive(settings, during) is True
        elsewhere = dataclasses.replace(settings, home=tmp_path / "other")
        elsewhere.locks.mkdir(parents=True)
        assert writer.alive(elsewhere, during) is None  # nobody can tell from there
    assert list(settings.locks.glob("record-*")) == []


def test_a_change_that_raises_leaves_a_failed_record(settings: Settings) -> None:
    with (
        pytest.raises(Conflict, match="someone"),
        writer.opened(settings, ADA, model="phi3", version=1, action="copy"),
    ):
        raise Conflict("someone was faster")

    (record,) = search.of_model(settings, "phi3")
    assert (record.status, record.outcome, record.intact) == ("failed", "someone was faster", True)


def test_a_reason_that_does_not_fit_is_refused_and_changes_nothing(settings: Settings) -> None:
    with pytest.raises(BadInput, match="has 2001 characters. Write at most 2000"):
        add(settings, reason="x" * 2001)

    assert search.state(settings) == "none yet"


def test_evidence_that_does_not_fit_is_cut_and_the_lines_stay(settings: Settings) -> None:
    made = add(settings, checks=[{"name": f"line {n}", "met": n % 2 == 0, "says": "ä" * 1500} for n in range(20)])

    assert made.intact
    assert [(check["name"], check["met"]) for check in made.checks] == [(f"line {n}", n % 2 == 0) for n in range(20)]
    assert all(0 < len(check["says"]) < 1500 for check in made.checks)


@pytest.mark.parametrize("name", ["it's", 'a "b"', "a@b", "Φ", "50%"])
def test_records_of_odd_names_and_texts_are_found(settings: Settings, name: str) -> None:
    made = add(settings, model=name, reason="100 % = “all”")
    add(settings, model="other")

    assert [record.id for record in search.of_model(settings, name)] == [made.id]
    assert [record.id for record in search.page(settings, text="100 % =").records] == [made.id]


# ---------------------------------------------------------------- searching


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


# ---------------------------------------------------------------- seals


def test_what_was_never_touched_is_intact(three: Settings) -> None:
    listed = search.of_model(three, "phi3")

    assert search.verify(three, "phi3") == []
    assert all(record.intact for record in listed)
    assert [record.previous for record in listed] == [listed[1].seal, listed[2].seal, ""]
    assert mlflow_client(three).get_registered_model("phi3").tags[tags.RECORD] == listed[0].seal


@pytest.mark.parametrize(
    ("tag", "value"),
    [
        (tags.USER, "mallory"),
        (tags.REASON, "another reason"),
        (tags.VERSION, "3"),
        (tags.TO, "Staging"),
        (tags.CHECKS, '[{"name": "approvals", "met": true, "says": "yes"}]'),
        (tags.DIGEST, "0"),
        (tags.PREVIOUS, ""),
        (tags.STATUS, "failed"),
        (tags.OUTCOME, "All went well."),
        (tags.ENDED, "1"),
        (tags.SEAL, "sha256-0"),
        (tags.CLOSING, "sha256-0"),
    ],
)
def test_an_edited_record_is_found_out(three: Settings, tag: str, value: str) -> None:
    edited = search.of_model(three, "phi3")[1]

    mlflow_client(three).set_tag(edited.id, tag, value)

    assert [r.intact for r in search.of_model(three, "phi3")] == [True, False, True]
    assert any("was edited after it was written" in sentence for sentence in search.verify(three, "phi3"))
    assert reconcile(three, "phi3").damage == search.verify(three, "phi3")


@pytest.mark.parametrize("tag", [tags.SEAL, tags.CLOSING, tags.PREVIOUS, tags.USER])
def test_a_record_that_lost_a_tag_is_found_out(three: Settings, tag: str) -> None:
    edited = search.of_model(three, "phi3")[1]

    mlflow_client(three).delete_tag(edited.id, tag)

    assert search.verify(three, "phi3") != []


def test_an_edited_status_is_found_out(three: Settings) -> None:
    mlflow_client(three).set_terminated(search.of_model(three, "phi3")[1].id, "FAILED")

    assert "was edited" in search.verify(three, "phi3")[0]


@pytest.mark.parametrize(("which", "says"), [(0, "The latest record"), (1, "A record of phi3 before"), (2, "A record")])
def test_a_deleted_record_is_missed(three: Settings, which: int, says: str) -> None:
    mlflow_client(three).delete_run(search.of_model(three, "phi3")[which].id)

    (sentence,) = search.verify(three, "phi3")
    assert sentence.startswith(says)
    assert "is missing: it was deleted" in sentence
    seen = reconcile(three, "phi3")
    assert "is missing: it was deleted" in seen.damage[0]
    assert not any("from outside" in said for said in seen.said)


def test_a_record_that_was_stripped_of_its_seals_breaks_the_chain(three: Settings) -> None:
    stripped = search.of_model(three, "phi3")[1]
    for tag in (tags.SEAL, tags.CLOSING, tags.PREVIOUS):
        mlflow_client(three).delete_tag(stripped.id, tag)

    assert "is missing" in search.verify(three, "phi3")[0]


def test_a_model_that_lost_its_tag_is_told(three: Settings) -> None:
    mlflow_client(three).delete_registered_model_tag("phi3", tags.RECORD)

    assert search.verify(three, "phi3") == [
        "The model's tag phi3.record, which names its latest record, is missing: it was deleted."
    ]


def test_two_machines_that_fork_the_chain_have_done_no_damage(three: Settings) -> None:
    head = mlflow_client(three).get_registered_model("phi3").tags[tags.RECORD]
    add(three)
    mlflow_client(three).set_registered_model_tag("phi3", tags.RECORD, head)  # the other one read it before
    add(three)
    add(three)

    assert search.verify(three, "phi3") == []


def test_records_of_the_time_before_there_were_seals_are_taken_as_they_are(three: Settings) -> None:
    home = experiment_id(three, tags.PROMOTIONS)
    old = {tags.ACTION: "stage", tags.MODEL_NAME: "old", tags.VERSION: "1", tags.FROM: "None", tags.TO: "Production"}
    run = mlflow_client(three).create_run(home, tags=old)
    mlflow_client(three).set_terminated(run.info.run_id)
    register(three, "old")

    (record,) = search.of_model(three, "old")

    assert (record.action, record.status, record.intact) == ("promote", "done", True)
    assert search.verify(three, "old") == []


def test_the_way_back_goes_by_records_of_the_time_before_there_were_seals_too(settings: Settings) -> None:
    for number in (1, 2):
        register(settings)
        tag_values = {tags.ACTION: "stage", tags.VERSION: f"{number}", tags.FROM: "None", tags.TO: "Production"}
        unsealed(settings, 1000 * number, **tag_values)
    mlflow_client(settings).set_registered_model_alias("phi3", "production", "2")

    assert rollback(settings, "phi3", "slow").version.version == 1
    promote(settings, "phi3/2", "Production")
    assert [span.version for span in timeline.spans(search.of_model(settings, "phi3"))] == [1, 2, 1, 2]
    assert search.verify(settings, "phi3") == []


def test_a_record_without_a_seal_is_told_where_there_are_sealed_ones_before_it(three: Settings) -> None:
    forged = unsealed(three, **{tags.ACTION: "promote", tags.VERSION: "1", tags.TO: "Production"})

    listed = search.of_model(three, "phi3")

    assert listed[0].id == forged
    assert listed[0].doubt == "no seal"
    (sentence,) = search.verify(three, "phi3")
    assert "was not written by this app: it has no seal" in sentence
    assert reconcile(three, "phi3").damage == [sentence]


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

    assert reconcile(three, "phi3").said == []
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


def test_with_a_key_nobody_else_can_compute_a_seal(three: Settings) -> None:
    sealed = dataclasses.replace(three, record_key="secret")
    first, second = (writer.append(sealed, ADA, model="phi3", version=1, action="request") for _ in range(2))
    tag_values = mlflow_client(three).get_run(second.id).data.tags | {tags.REASON: "forged"}
    forged = seal.of_intent(tag_values, int(second.started.timestamp() * 1000), "")

    assert first.intact
    assert first.seal.startswith("hmac-")
    assert search.verify(sealed, "phi3") == []
    closing = seal.of_result(tag_values | {tags.SEAL: forged}, "")
    for tag, value in ((tags.REASON, "forged"), (tags.SEAL, forged), (tags.CLOSING, closing)):
        mlflow_client(three).set_tag(second.id, tag, value)
    mlflow_client(three).set_registered_model_tag("phi3", tags.RECORD, forged)

    assert any("was edited" in sentence for sentence in search.verify(sealed, "phi3"))


def test_what_was_sealed_before_there_was_a_key_stays_intact(three: Settings) -> None:
    sealed = dataclasses.replace(three, record_key="secret")
    writer.append(sealed, ADA, model="phi3", version=1, action="request")

    assert search.verify(sealed, "phi3") == []


def test_without_the_key_that_a_record_was_sealed_with_it_can_not_be_vouched_for(three: Settings) -> None:
    sealed = dataclasses.replace(three, record_key="secret")
    writer.append(sealed, ADA, model="phi3", version=1, action="request")

    assert "PHI3_RECORD_KEY" in " ".join(search.verify(three, "phi3"))


# ---------------------------------------------------------------- all of them gone


def test_a_deleted_experiment_of_records_is_noticed_stops_promotions_and_is_restored(three: Settings) -> None:
    before = search.of_model(three, "phi3")
    mlflow_client(three).delete_experiment(experiment_id(three, tags.PROMOTIONS))

    assert search.state(three) == "deleted"
    assert reconcile(three, "phi3").records_state == "deleted"
    assert reconcile(three, "phi3").said == []  # nothing is taken for a change from outside
    with pytest.raises(Conflict, match="was deleted"):
        promote(three, "phi3/1", "Production")
    assert mlflow_client(three).get_registered_model("phi3").aliases["production"] in (3, "3")
    with pytest.raises(Forbidden, match="needs the role admin"):
        search.restore(three, ADA)

    search.restore(three, BOB)

    assert search.state(three) == "ok"
    assert search.of_model(three, "phi3") == before
    assert search.verify(three, "phi3") == []
    assert [(r.action, r.user) for r in search.page(three, limit=1).records] == [("restore", "bob@example.org")]
    assert search.verify(three, "") == []
    promote(three, "phi3/1", "Production")


@pytest.mark.parametrize("which", [0, 1])
def test_a_restoration_that_was_deleted_from_the_record_is_missed(three: Settings, which: int) -> None:
    for _ in range(2):
        mlflow_client(three).delete_experiment(experiment_id(three, tags.PROMOTIONS))
        search.restore(three, BOB)
    assert search.verify(three, "") == []

    mlflow_client(three).delete_run(search.page(three, action="restore").records[which].id)

    (sentence,) = search.verify(three, "")
    assert "is missing: it was deleted" in sentence


def test_nothing_is_restored_where_nothing_was_deleted(settings: Settings) -> None:
    with pytest.raises(NotFound, match="There are no records yet"):
        search.restore(settings, BOB)


# ---------------------------------------------------------------- the timeline, and out of here


def test_the_timeline_tells_which_version_was_in_production_when(three: Settings) -> None:
    promote(three, "phi3/2", "Staging")
    promote(three, "phi3/1", "Production")
    promote(three, "phi3/1", "Archived")
    listed = search.of_model(three, "phi3")

    spans = timeline.spans(listed)

    starts = [record.started for record in reversed(listed) if "Staging" not in (record.new, record.old)]
    assert [(span.version, span.start, span.end) for span in spans] == [
        (1, starts[0], starts[1]),
        (2, starts[1], starts[2]),
        (3, starts[2], starts[3]),
        (1, starts[3], starts[4]),
    ]
    assert [(span.version, span.end) for span in timeline.spans(listed, "Staging")] == [(2, None)]
    assert {span.record for span in spans} <= {record.id for record in listed}


def test_a_failed_promotion_is_not_in_the_timeline(settings: Settings) -> None:
    register(settings)
    with pytest.raises(Conflict), writer.opened(
        settings, ADA, model="phi3", version=1, action="promote", old="None", new="Production"
    ):  # fmt: skip
        raise Conflict("no")

    assert timeline.spans(search.of_model(settings, "phi3")) == []


def test_promotions_count_in_the_order_in_which_they_took_effect(settings: Settings) -> None:
    first, second = (add(settings, version=number, action="promote", old="None", new="Production") for number in (1, 2))
    assert first.ended is not None
    late = dataclasses.replace(first, ended=first.ended + timedelta(minutes=1))

    assert timeline.holder([second, first], "Production") == 2
    assert timeline.holder([second, late], "Production") == 1
    assert timeline.spans([second, late])[-1] == Span(1, second.started, None, first.id)


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
