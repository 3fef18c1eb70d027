"""Conversations in the store: written in the background, read, listed, searched, rated, renamed, deleted."""

from __future__ import annotations

import dataclasses
import json
import multiprocessing
import os
import shutil
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from phi3core import settings as settings_module
from phi3core import tags
from phi3core.chat import history
from phi3core.chat.live_conversations import rename_conversation
from phi3core.chat.search import search_conversations
from phi3core.engine.interface import Token
from phi3core.errors import BadInput, NotFound, StoreDown, StoreError
from phi3core.settings import Settings
from phi3core.store.client import experiment_id, mlflow_client
from phi3core.traces import outbox, outbox_files, sender, thumbs, trace, trace_search
from phi3core.traces.text import clean
from phi3core.traces.turn import Origin, Turn
from tests.store.test_http import remote  # noqa: F401  (a fixture)
from tests.support import fakes
from tests.support.fakes import until


@pytest.fixture(autouse=True)
def _nothing_stays() -> Iterator[None]:
    """A sender whose store is down would go on trying through the tests that follow."""
    yield
    for home, running in list(sender._senders.items()):
        shutil.rmtree(home / "outbox", ignore_errors=True)
        running.wake(now=True)
        until(lambda running=running: not running.running)
        del sender._senders[home]
    outbox._memory.clear()


def new_id() -> str:
    return uuid.uuid4().hex


def said(question: str = "Hello", answer: str = "Hi.", parent: str = "", when: int = 0, **more: Any) -> Turn:
    """A turn that has ended."""
    defaults: dict[str, Any] = {"ref": "phi3/1", "user": "ada", "state": "done", "finish_reason": "stop"}
    when = when or time.time_ns() // 1_000_000
    return Turn(**{**defaults, "question": question, "answer": answer, "parent": parent, "when": when, **more})


def keep(settings: Settings, turn: Turn, id: str = "", **more: Any) -> str:
    """Save a turn and have it sent; the id of its conversation."""
    id = id or new_id()
    history.save(settings, id, turn, [{"role": "user", "content": turn.question}], **more)
    assert history.flush(settings, 60), history.sending_error(settings)
    return id


def traces_of(settings: Settings, id: str) -> list[Any]:
    return list(trace_search.search_traces(settings, trace_search.session_filter(id)))


class Store:
    """The store as the sender sees it: it can be away, refuse a kind of event, and counts what it is sent."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.away = False
        self.refused = ""
        self.sent: list[str] = []
        self._turn, self._rating = trace.send_turn, thumbs.send_rating
        monkeypatch.setattr(trace, "send_turn", self._send_turn)
        monkeypatch.setattr(thumbs, "send_rating", self._send_rating)

    def _send_turn(self, settings: Settings, event: dict[str, Any], again: bool) -> None:
        self._check(event["turn"]["question"])
        self._turn(settings, event, again)
        self.sent.append(event["turn"]["question"])

    def _send_rating(self, settings: Settings, event: dict[str, Any]) -> None:
        self._check("")
        self._rating(settings, event)

    def _check(self, question: str) -> None:
        if self.away:
            raise StoreDown("The MLflow store does not answer.")
        if self.refused and self.refused in question:
            raise StoreError("MLflow could not do this.")


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch) -> Store:
    return Store(monkeypatch)


# ---------------------------------------------------------------- a turn is a trace


def test_a_turn_is_one_trace_of_the_conversations_session_with_all_there_is_to_know(settings: Settings) -> None:
    turn = said(
        "What is the capital of Spain?",
        "Madrid.",
        system="Be brief.",
        options={"temperature": 0.5},
        seed=11,
        prompt="<s>rendered",
        prompt_tokens=9,
        completion_tokens=2,
        cached_tokens=4,
        first_token_ms=12.5,
        tokens_per_second=99.0,
        took_ms=1234.0,
        asked_ref="phi3/Production",
        model_id="m-0123456789abcdef0123456789abcdef",
    )
    messages = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": turn.question}]
    id = new_id()
    history.save(settings, id, turn, messages)
    assert history.flush(settings)

    (trace,) = traces_of(settings, id)
    info, span = trace.info, trace.data.spans[0]
    assert info.trace_id == turn.trace_id
    assert info.trace_metadata["mlflow.trace.session"] == id
    assert info.trace_metadata["mlflow.trace.user"] == "ada"
    assert info.trace_metadata["mlflow.modelId"] == turn.model_id
    assert (info.tags[tags.VERSION], info.tags[tags.TITLE]) == ("phi3/1", "What is the capital of Spain?")
    assert (info.request_time, info.execution_duration) == (turn.when, 1234)
    assert (info.request_preview, info.response_preview) == (turn.question, "Madrid.")
    assert str(info.state).endswith("OK")
    assert info.token_usage["input_tokens"] == 9
    assert info.token_usage["cache_read_input_tokens"] == 4
    assert span.inputs == {"messages": messages, "model": "phi3/1", "temperature": 0.5, "seed": 11}
    assert span.outputs["choices"] == [
        {"index": 0, "message": {"role": "assistant", "content": "Madrid."}, "finish_reason": "stop"}
    ]
    assert span.attributes[tags.RENDERED] == "<s>rendered"
    assert span.attributes[tags.FIRST_TOKEN_MS] == 12.5
    assert span.attributes[tags.TOKENS_PER_SECOND] == 99.0


def test_mlflow_lists_the_trace_with_the_logged_model(settings: Settings) -> None:
    model = mlflow_client(settings).create_logged_model(experiment_id(settings, tags.CONVERSATIONS))
    turn = said(model_id=model.model_id)
    keep(settings, turn)
    found = mlflow_client(settings).search_traces(
        locations=[experiment_id(settings, tags.CONVERSATIONS)],
        filter_string=f"request_metadata.`mlflow.modelId` = '{model.model_id}'",
    )
    assert [trace.info.trace_id for trace in found] == [turn.trace_id]


def test_a_turn_comes_back_as_it_was(settings: Settings) -> None:
    turn = said(
        options={"stop": ["END"], "temperature": 0.25},
        schema={"type": "object"},
        tokens=[Token("Hi", -0.25, (("Hi", -0.25), ("Ho", -1.5))), Token(".", -0.5)],
        state="stopped",
        note="A note.",
        forgot=2,
        copy_of="f" * 32,
        seed=3,
    )
    id = keep(settings, turn, origin=Origin("replay", "e" * 32))
    found = history.read(settings, id)
    assert list(found.turns) == [turn]
    assert found.origin == Origin("replay", "e" * 32)


def test_a_failed_turn_is_a_failed_trace(settings: Settings) -> None:
    turn = said(answer="Half", state="failed", error="It died.", full=True)
    id = keep(settings, turn)
    (trace,) = traces_of(settings, id)
    assert str(trace.info.state).endswith("ERROR")
    assert trace.data.spans[0].status.description == "It died."
    assert list(history.read(settings, id).turns) == [turn]


HOSTILE = {
    "control characters": "\x01\x02\x1b[31m red \x7f\x85",
    "NUL": "before\x00after",
    "half a character": "before\ud800after",
    "a long line": "x" * 100_000,
    "direction marks": "\u202egnirts\u202c\u2028",
    "quotes": "' OR 1=1 -- \" ` \\ %_",
    "markup": "<script>alert(1)</script>![x](http://evil/)",
}


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE.keys())
def test_hostile_text_is_saved_found_and_read_back(settings: Settings, text: str) -> None:
    turn = said(f"q {text} q", f"a {text} a", system=text, error=text, state="failed", user=text, comment="")
    id = keep(settings, turn)
    found = history.read(settings, id)
    expected = f"a {text} a".replace("\ud800", "\ufffd")
    assert found.turns[0].answer == expected
    assert found.turns[0].question == f"q {text} q".replace("\ud800", "\ufffd")
    (summary,) = search_conversations(settings).conversations
    assert summary.title.startswith("q ")
    assert len(summary.title) <= 80
    assert summary.title.isprintable()
    history.rename(settings, id, f"t {text}")
    history.rate(settings, id, dataclasses.replace(turn, thumb=False, comment=f"c {text}"))
    assert history.flush(settings), history.sending_error(settings)
    assert search_conversations(settings).conversations[0].title.startswith("t ")
    assert history.read(settings, id).turns[0].comment.startswith("c ")


def test_two_halves_of_a_character_that_were_streamed_apart_become_one() -> None:
    assert clean("a" + "\ud83d" + "\ude00") == "a😀"


# ---------------------------------------------------------------- the outbox


def test_a_turn_is_safe_on_disk_and_seen_while_the_store_is_away(settings: Settings, store: Store) -> None:
    store.away = True
    id, first = new_id(), said("One")
    second = said("Two", parent=first.id, when=first.when + 1)
    for turn in (first, second):
        history.save(settings, id, turn, [])
    until(lambda: history.sending_error(settings))
    assert history.count_pending(settings) == 2
    assert "does not answer" in history.sending_error(settings)
    assert len(list(settings.outbox.glob("*.json"))) == 2
    assert list(history.read(settings, id).turns) == [first, second]
    (summary,) = search_conversations(settings).conversations
    assert (summary.turns, summary.pending, summary.title) == (2, 2, "One")
    assert list(search_conversations(settings, pending_only=True).conversations) == [summary]

    store.away = False
    assert history.flush(settings)
    assert store.sent == ["One", "Two"]
    assert history.count_pending(settings) == 0
    assert history.sending_error(settings) == ""
    assert list(history.read(settings, id).turns) == [first, second]
    (summary,) = search_conversations(settings).conversations
    assert (summary.turns, summary.pending) == (2, 0)


def test_a_store_that_comes_back_is_sent_to_without_anybody_asking(settings: Settings, store: Store) -> None:
    store.away = True
    id = new_id()
    history.save(settings, id, said(), [])
    until(lambda: history.sending_error(settings))
    store.away = False
    until(lambda: not history.count_pending(settings))
    assert len(traces_of(settings, id)) == 1


def test_a_whole_conversation_can_be_read_when_even_reading_fails(
    settings: Settings, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = keep(settings, said("In the store"))
    store.away = True
    id = new_id()
    history.save(settings, id, said("Only here"), [])

    def down(*_: Any, **__: Any) -> Any:
        raise StoreDown("The MLflow store does not answer.")

    monkeypatch.setattr(trace_search, "search_traces", down)
    assert history.read(settings, id).turns[0].question == "Only here"
    assert [summary.id for summary in search_conversations(settings, pending_only=True).conversations] == [id]
    with pytest.raises(StoreDown):
        history.read(settings, kept)
    with pytest.raises(StoreDown):
        search_conversations(settings)


def test_one_turn_that_the_store_refuses_does_not_hold_up_the_others(settings: Settings, store: Store) -> None:
    store.refused = "poison"
    id, other = new_id(), new_id()
    poison = said("poison")
    history.save(settings, id, poison, [])
    history.rate(settings, id, dataclasses.replace(poison, thumb=True))
    history.save(settings, id, said("Next", parent=poison.id), [])
    history.save(settings, other, said("Other"), [])
    until(lambda: store.sent == ["Next", "Other"])
    until(lambda: history.sending_error(settings))
    until(lambda: history.count_pending(settings) == 2)  # the turn, and what builds on it
    store.refused = ""
    assert history.flush(settings)
    assert history.read(settings, id).turns[0].thumb is True


def test_a_file_that_is_no_event_is_put_aside(settings: Settings) -> None:
    (settings.outbox / "00000000000000000001-000000-1.json").write_text("{half")
    (settings.outbox / "00000000000000000002-000000-1.json").write_text("[1]")
    id = keep(settings, said())
    assert len(traces_of(settings, id)) == 1
    assert len(list(settings.outbox.glob("*.damaged"))) == 2
    assert history.count_pending(settings) == 0


def test_a_crash_between_sending_and_forgetting_shows_the_turn_once(settings: Settings, store: Store) -> None:
    id, turn = new_id(), said()
    history.save(settings, id, turn, [])
    assert history.flush(settings)
    event = {"kind": "turn", "conversation": id, "turn": turn.plain(), "messages": [], "origin": None, "title": "Hello"}
    history.rename(settings, id, "Renamed")
    assert history.flush(settings)
    (settings.outbox / "00000000000000000001-000000-1.json").write_text(json.dumps(event))

    assert list(history.read(settings, id).turns) == [turn]  # both are there at this moment
    assert search_conversations(settings).conversations[0].turns == 1
    assert history.flush(settings)
    assert len(traces_of(settings, id)) == 1
    assert history.read(settings, id).title == "Renamed"  # it was not written over


def test_a_crash_in_the_middle_of_sending_is_made_whole(settings: Settings) -> None:
    id, turn = new_id(), said()
    event = {"kind": "turn", "conversation": id, "turn": turn.plain(), "messages": [], "origin": None, "title": "Hello"}
    home = experiment_id(settings, tags.CONVERSATIONS)
    trace_search.tracing_client(settings).start_trace(trace._info(turn, home, event))  # and the span never came
    (settings.outbox / "00000000000000000001-000000-1.json").write_text(json.dumps(event))
    assert history.flush(settings)
    assert list(history.read(settings, id).turns) == [turn]
    assert len(traces_of(settings, id)) == 1


def test_the_next_process_sends_what_a_killed_one_left(settings: Settings) -> None:
    id = new_id()
    script = (
        "import os, sys, time; from phi3core import settings; from phi3core.chat import history;"
        "from phi3core.traces import trace; from phi3core.traces.turn import Turn;"
        "trace.send_turn = lambda *_: time.sleep(60);"
        "history.save(settings.load_settings(), sys.argv[1], Turn('Left behind', 'phi3/1', state='done'), []);"
        "os._exit(9)"
    )
    assert subprocess.run([sys.executable, "-c", script, id], check=False).returncode == 9
    assert history.count_pending(settings) == 1
    assert history.read(settings, id).turns[0].question == "Left behind"
    history.start(settings)
    until(lambda: not history.count_pending(settings))
    assert len(traces_of(settings, id)) == 1


def test_the_next_start_keeps_the_question_of_an_answer_that_a_kill_cut_short(settings: Settings) -> None:
    id, turn = new_id(), said("Cut short", state="running", answer="")
    script = (
        "import os, sys, json; from phi3core import settings; from phi3core.chat import history;"
        "from phi3core.traces.turn import Turn;"
        "history.draft(settings.load_settings(), sys.argv[1], Turn.from_plain(json.loads(sys.argv[2])), [], None, '');"
        "sys.stdout.write('x'); sys.stdout.flush(); sys.stdin.read(); os._exit(9)"
    )
    child = subprocess.Popen(
        [sys.executable, "-c", script, id, json.dumps(turn.plain())], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert child.stdin is not None
    assert child.stdout is not None
    assert child.stdout.read(1) == b"x"
    history.start(settings)  # another one of the same home
    assert history.count_pending(settings) == 0  # its answer may still come
    child.stdin.close()
    child.wait(20)
    history.start(settings)
    until(lambda: not history.count_pending(settings))
    (found,) = history.read(settings, id).turns
    assert (found.question, found.state) == ("Cut short", "failed")
    assert "app ended" in found.error
    assert list(settings.outbox.iterdir()) == []


def test_an_answer_that_was_saved_just_before_a_kill_is_not_replaced_by_its_draft(
    settings: Settings, store: Store
) -> None:
    store.away = True
    id, turn = new_id(), said("Saved")
    draft = history.draft(settings, id, turn, [], None, "")
    history.save(settings, id, turn, [])
    assert draft is not None
    draft.rename(draft.with_name(draft.name.replace(f"-{os.getpid()}.", "-999999999.")))  # of a process that died
    history.start(settings)
    store.away = False
    assert history.flush(settings)
    assert store.sent == ["Saved"]
    assert list(history.read(settings, id).turns) == [turn]


def test_a_process_that_has_the_number_of_a_dead_one_is_not_taken_for_it(settings: Settings) -> None:
    """In a container every life of the app has the same number."""
    id, turn = new_id(), said("Of an earlier life", state="running", answer="")
    draft = history.draft(settings, id, turn, [], None, "")
    assert draft is not None
    draft.rename(draft.with_name(f"{1:020d}-000000-{os.getpid()}.json.draft"))
    mine = history.draft(settings, id, said("Of this one"), [], None, "")
    (settings.outbox / f"{1:020d}-000001-{os.getpid()}.json.part").write_text("{half")
    history.start(settings)
    until(lambda: not history.count_pending(settings))
    assert [turn.question for turn in history.read(settings, id).turns] == ["Of an earlier life"]
    assert list(settings.outbox.iterdir()) == [mine]


def test_a_disk_that_is_full_leaves_no_half_files(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(outbox_files.os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        history.save(settings, new_id(), said(), [])
    assert list(settings.outbox.iterdir()) == []


def _send_some(home: str, uri: str, id: str, count: int, log: str, together: Any) -> None:
    """In a process of its own: save turns, wait for the other, and note each one that this process sends."""
    os.environ["PHI3_HOME"], os.environ["MLFLOW_TRACKING_URI"] = home, uri
    config = settings_module.load_settings()
    real, ready = trace.send_turn, False

    def noted(settings: Settings, event: dict[str, Any], again: bool) -> None:
        if not ready:
            raise StoreDown("Not yet.")
        with Path(log).open("a") as file:
            file.write(event["turn"]["id"] + "\n")
        real(settings, event, again)

    trace.send_turn = noted  # type: ignore[assignment]
    for number in range(count):
        history.save(config, id, said(f"{os.getpid()} {number}"), [])
    together.wait(60)
    ready = True
    deadline = time.monotonic() + 60
    while not history.flush(config, 5):
        assert time.monotonic() < deadline, history.sending_error(config)


def test_two_processes_of_one_home_send_every_turn_once(settings: Settings, tmp_path: Path) -> None:
    id, log = new_id(), tmp_path / "sent"
    experiment_id(settings, tags.CONVERSATIONS)
    spawn = multiprocessing.get_context("spawn")
    arguments = (str(settings.home), settings.tracking_uri, id, 10, str(log), spawn.Barrier(2))
    children = [spawn.Process(target=_send_some, args=arguments) for _ in range(2)]
    for child in children:
        child.start()
    for child in children:
        child.join(120)
        assert child.exitcode == 0
    sent = log.read_text().split()
    assert len(sent) == len(set(sent)) == 20
    assert len(traces_of(settings, id)) == 20


def test_with_tracing_off_nothing_is_written_and_everything_works_in_memory(
    settings: Settings, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    off = dataclasses.replace(settings, tracing=False)
    id, turn = new_id(), said("In memory")
    before = sorted(path for path in settings.home.rglob("*") if path.is_file())
    history.save(off, id, turn, [])
    turn.thumb = True
    history.rate(off, id, turn)
    history.rename(off, id, "Named")
    assert history.read(off, id).turns[0].thumb is True
    assert [(summary.title, summary.turns, summary.pending) for summary in search_conversations(off).conversations] == [
        ("Named", 1, 0)
    ]
    assert [summary.id for summary in search_conversations(off, "memory").conversations] == [id]
    assert search_conversations(off, "elsewhere").conversations == []
    assert history.flush(off)
    history.delete(off, id)
    assert search_conversations(off).conversations == []
    with pytest.raises(NotFound):
        history.read(off, id)
    assert store.sent == []
    assert sorted(path for path in settings.home.rglob("*") if path.is_file()) == before


# ---------------------------------------------------------------- the list


def test_the_list_is_newest_first_with_titles_counts_and_who_spoke_last(settings: Settings) -> None:
    now = time.time_ns() // 1_000_000
    old, new = new_id(), new_id()
    first = said("The older one", when=now)
    keep(settings, first, old)
    keep(settings, said("The newer one", when=now + 10, ref="phi3/2", user="bob"), new)
    assert [(s.id, s.title, s.turns, s.ref, s.user) for s in search_conversations(settings).conversations] == [
        (new, "The newer one", 1, "phi3/2", "bob"),
        (old, "The older one", 1, "phi3/1", "ada"),
    ]
    keep(settings, said("And on", parent=first.id, when=now + 20, ref="phi3/3"), old)
    assert [(s.id, s.title, s.turns, s.ref, s.when) for s in search_conversations(settings).conversations] == [
        (old, "The older one", 2, "phi3/3", now + 20),
        (new, "The newer one", 1, "phi3/2", now + 10),
    ]
    assert [s.id for s in search_conversations(settings, limit=1).conversations] == [old]


def test_another_beginning_does_not_change_the_title(settings: Settings) -> None:
    id = keep(settings, said("First", when=1000))
    keep(settings, said("First, edited", when=2000), id)
    assert search_conversations(settings).conversations[0].title == "First"
    history.rename(settings, id, "  Mine\nnow ")
    assert search_conversations(settings).conversations[0].title == "Mine now"
    assert history.flush(settings)
    assert search_conversations(settings).conversations[0].title == history.read(settings, id).title == "Mine now"
    with pytest.raises(BadInput, match="title is empty"):
        history.rename(settings, id, " \x00 ")


def test_a_conversation_is_renamed_without_being_read_even_while_the_store_is_away(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    id = keep(settings, said("First"))
    with monkeypatch.context() as patch:

        def down(*_: Any, **__: Any) -> Any:
            raise StoreDown("The MLflow store does not answer.")

        patch.setattr(trace_search, "search_traces", down)
        rename_conversation(settings, id, "  Another\nname ")
        until(lambda: history.sending_error(settings))
        assert history.count_pending(settings) == 1
    with pytest.raises(BadInput, match="title is empty"):
        rename_conversation(settings, id, " ")
    with pytest.raises(BadInput, match="not a conversation's address"):
        rename_conversation(settings, "' OR 1=1", "Named")
    assert search_conversations(settings).conversations[0].title == history.read(settings, id).title == "Another name"
    assert history.flush(settings)
    assert search_conversations(settings).conversations[0].title == history.read(settings, id).title == "Another name"


def test_a_list_of_many_takes_few_calls_of_the_store(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    from phi3core.chat import search

    for number in range(12):
        first = said(f"Question {number}", when=1000 * number + 1)
        id = new_id()
        history.save(settings, id, first, [])
        for turn in range(3):
            history.save(settings, id, said("more", parent=first.id, when=1000 * number + turn + 2), [])
    assert history.flush(settings, 60)
    counting = fakes.CountingClient(mlflow_client(settings))
    monkeypatch.setattr(trace_search, "mlflow_client", lambda settings: counting)
    assert [s.turns for s in search_conversations(settings).conversations] == [4] * 12
    assert sum(counting.calls.values()) == 1
    # As if they were too many to look at all of them: the newest are found first, then their traces.
    monkeypatch.setattr(search, "_PAGE", 8)
    counting.calls.clear()
    assert [(s.title, s.turns) for s in search_conversations(settings, limit=1).conversations] == [("Question 11", 4)]
    assert sum(counting.calls.values()) == 2


def test_a_search_goes_on_until_it_has_found_enough(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    from phi3core.chat import search

    old = keep(settings, said("About Spain", when=1_000))
    talkative, first = new_id(), said("And Portugal?", when=2_000)
    history.save(settings, talkative, first, [])
    for number in range(11):
        more = said("Spain again", parent=first.id, when=2_001 + number)
        history.save(settings, talkative, more, [])
    for number in range(6):
        titled = new_id()
        history.save(settings, titled, said("Hello", when=500 + number), [], title=f"Spain {number}")
    assert history.flush(settings, 60)
    for page in ("_PAGE", "_READ"):
        monkeypatch.setattr(search, page, 2)

    found = search.search_conversations(settings, "spain", limit=2)
    assert ([summary.id for summary in found.conversations], found.since) == ([talkative, old], 0)
    assert len(search.search_conversations(settings, "spain").conversations) == 8
    assert [summary.id for summary in search.search_conversations(settings, limit=2).conversations] == [talkative, old]


def test_a_look_that_runs_out_of_time_says_how_far_it_came(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    from phi3core.chat import search

    ids = [keep(settings, said("Spain", when=1_000 * number)) for number in range(1, 7)]
    for page in ("_PAGE", "_READ"):
        monkeypatch.setattr(search, page, 2)

    for text in ("", "spain"):
        found = search.search_conversations(settings, text, seconds=0)
        assert ([summary.id for summary in found.conversations], found.since) == ([ids[5], ids[4]], 5_000)
        assert (
            search.search_conversations(settings, text, limit=1, seconds=0).since == 0
        )  # it found all that was wanted
        assert search.search_conversations(settings, text, seconds=60).since == 0


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("madrid", True),
        ("CAPITAL of", True),
        ("größe", True),
        ("GRÖSSE", True),
        ("日本", True),
        ('say "hi"', True),
        ("it's", True),
        ("a\\b", True),
        ("50%", True),
        ("50_", False),
        ("two\nlines", True),
        ("lisbon", False),
        ("finish_reason", False),  # a name of a field
        ("assistant", False),
        ("be terse", False),  # the system prompt is none of it
        ("phi3/1", False),
    ],
)
def test_a_search_finds_questions_and_answers_in_any_case_and_nothing_else(
    settings: Settings, text: str, found: bool
) -> None:
    question = 'What is the capital of Spain, in Größe, 日本? say "hi", it\'s a\\b and 50% two\nlines'
    id = keep(settings, said(question, "Madrid.", system="be terse"))
    keep(settings, said("Something else", "Entirely."))
    assert [summary.id for summary in search_conversations(settings, text).conversations] == ([id] if found else [])


def test_a_search_finds_titles_and_what_waits_for_the_store(settings: Settings, store: Store) -> None:
    id = keep(settings, said("One", "1"))
    history.rename(settings, id, "Ärger über Spain")
    assert history.flush(settings)
    assert [summary.id for summary in search_conversations(settings, "ärger").conversations] == [id]
    store.away = True
    other = new_id()
    history.save(settings, other, said("Waiting", "for Spain"), [])
    assert {summary.id for summary in search_conversations(settings, "spain").conversations} == {id, other}
    # A turn that waits and does not match changes nothing of what is found; the counts are of the whole.
    history.save(settings, id, said("Two", "2"), [])
    assert [s.turns for s in search_conversations(settings, "ärger").conversations] == [2]
    assert {summary.id for summary in search_conversations(settings, "waiting").conversations} == {other}


def test_foreign_traces_in_the_experiment_do_no_harm(settings: Settings) -> None:
    import mlflow

    id = keep(settings, said("Ours"))
    home = experiment_id(settings, tags.CONVERSATIONS)
    for metadata in ({}, {"mlflow.trace.session": "not-hex"}, {"mlflow.trace.session": id}):
        mlflow.start_span_no_context("theirs", experiment_id=home, metadata=metadata).end(outputs="x")
    mlflow.flush_trace_async_logging()
    assert [turn.question for turn in history.read(settings, id).turns] == ["Ours"]
    for text in ("", "ours"):
        assert [(summary.id, summary.turns) for summary in search_conversations(settings, text).conversations] == [
            (id, 1)
        ]


# ---------------------------------------------------------------- rating, deleting


def thumbs_of(settings: Settings, id: str) -> list[tuple[Any, ...]]:
    (trace,) = traces_of(settings, id)
    found = sorted(trace.info.assessments, key=lambda assessment: assessment.create_time_ms)
    return [(a.name, a.value, a.rationale, a.source.source_type, a.source.source_id, a.valid) for a in found]


def test_a_thumb_is_an_assessment_and_a_later_one_overrides_it(settings: Settings) -> None:
    turn = said()
    id = keep(settings, turn)
    turn.thumb, turn.comment, turn.rated_by = True, "Right.", "bob"
    for _ in range(2):  # the second changes nothing
        history.rate(settings, id, turn)
    assert history.flush(settings)
    assert thumbs_of(settings, id) == [("thumb", True, "Right.", "HUMAN", "bob", True)]
    turn.thumb, turn.comment = False, ""
    history.rate(settings, id, turn)
    assert (history.read(settings, id).turns[0].thumb) is False  # even before it is sent
    assert history.flush(settings)
    assert thumbs_of(settings, id) == [
        ("thumb", True, "Right.", "HUMAN", "bob", False),
        ("thumb", False, None, "HUMAN", "bob", True),
    ]
    assert list(history.read(settings, id).turns) == [turn]
    turn.thumb = None
    history.rate(settings, id, turn)
    assert history.flush(settings)
    assert thumbs_of(settings, id) == []
    assert history.read(settings, id).turns[0].thumb is None


def test_a_turn_that_comes_with_a_thumb_is_saved_with_it(settings: Settings) -> None:
    turn = said(thumb=False, comment="Wrong.", rated_by="bob")
    id = keep(settings, turn)
    assert list(history.read(settings, id).turns) == [turn]


def test_a_deleted_conversation_is_gone_with_all_its_traces(settings: Settings) -> None:
    id, other = keep(settings, said("Gone")), keep(settings, said("Stays"))
    for number in range(3):
        keep(settings, said(f"Gone {number}"), id)
    history.delete(settings, id)
    assert [summary.id for summary in search_conversations(settings).conversations] == [other]  # at once
    with pytest.raises(NotFound):
        history.read(settings, id)
    assert history.flush(settings)
    assert traces_of(settings, id) == []
    assert [summary.id for summary in search_conversations(settings).conversations] == [other]


def test_what_was_never_sent_is_deleted_without_being_sent(settings: Settings, store: Store) -> None:
    store.away = True
    id = new_id()
    turn = said("Secret")
    history.save(settings, id, turn, [])
    history.rate(settings, id, dataclasses.replace(turn, thumb=True))
    history.delete(settings, id)
    assert "Secret" not in "".join(path.read_text() for path in settings.outbox.glob("*.json"))
    store.away = False
    assert history.flush(settings)
    assert store.sent == []
    assert search_conversations(settings).conversations == []


def test_rating_what_somebody_deleted_is_given_up(settings: Settings) -> None:
    turn = said(thumb=True)
    id = keep(settings, said("Stays"))
    history.rate(settings, id, turn)
    history.rename(settings, new_id(), "Nobody")
    assert history.flush(settings)
    assert history.count_pending(settings) == 0


def test_a_deleted_experiment_is_told_and_nothing_is_lost(settings: Settings) -> None:
    home = experiment_id(settings, tags.CONVERSATIONS)
    mlflow_client(settings).delete_experiment(home)
    id = new_id()
    history.save(settings, id, said(), [])
    until(lambda: history.sending_error(settings))
    assert "Restore it" in history.sending_error(settings)
    mlflow_client(settings).restore_experiment(home)
    assert history.flush(settings)
    assert len(traces_of(settings, id)) == 1


# ---------------------------------------------------------------- over HTTP


def test_a_tracking_server_keeps_conversations_as_a_local_store_does(remote: Settings) -> None:  # noqa: F811
    turn = said("Größe?\x00", "1 m \ud800", tokens=[Token("1", -1.0, (("1", -1.0),))], options={"temperature": 0.5})
    id = keep(remote, turn)
    turn.thumb = True
    history.rate(remote, id, turn)
    turn.thumb, turn.comment, turn.rated_by = False, "No.", "bob"
    history.rate(remote, id, turn)
    history.rename(remote, id, "Über")
    assert history.flush(remote), history.sending_error(remote)
    (found,) = history.read(remote, id).turns
    assert found == dataclasses.replace(turn, answer="1 m \ufffd")
    assert len(thumbs_of(remote, id)) == 2
    for text in ("", "GRÖSSE", "über"):
        assert [(s.id, s.title, s.turns) for s in search_conversations(remote, text).conversations] == [(id, "Über", 1)]
    history.delete(remote, id)
    assert history.flush(remote)
    assert traces_of(remote, id) == []
