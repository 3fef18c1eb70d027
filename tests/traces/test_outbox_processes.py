"""An outbox that several processes share, living and dead ones."""

from __future__ import annotations

import json
import multiprocessing
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from phi3core import settings as settings_module
from phi3core import tags
from phi3core.chat import history
from phi3core.errors import StoreDown
from phi3core.settings import Settings
from phi3core.store.client import experiment_id
from phi3core.traces import turn_trace
from tests.support.fakes import until
from tests.support.saved_turns import Store, ended_turn, new_id, traces_of


def test_the_next_process_sends_what_a_killed_one_left(settings: Settings) -> None:
    id = new_id()
    script = (
        "import os, sys, time; from phi3core import settings; from phi3core.chat import history;"
        "from phi3core.traces import turn_trace; from phi3core.traces.turn import Turn;"
        "turn_trace.send_turn = lambda *_: time.sleep(60);"
        "history.save(settings.load_settings(), sys.argv[1], Turn('Left behind', 'phi3/1', state='done'), []);"
        "os._exit(9)"
    )
    assert subprocess.run([sys.executable, "-c", script, id], check=False).returncode == 9
    assert history.count_pending(settings) == 1
    assert history.read(settings, id).turns[0].question == "Left behind"
    history.start_sending(settings)
    until(lambda: not history.count_pending(settings))
    assert len(traces_of(settings, id)) == 1


def test_the_next_start_keeps_the_question_of_an_answer_that_a_kill_cut_short(settings: Settings) -> None:
    id, turn = new_id(), ended_turn("Cut short", state="running", answer="")
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
    history.start_sending(settings)  # another one of the same home
    assert history.count_pending(settings) == 0  # its answer may still come
    child.stdin.close()
    child.wait(20)
    history.start_sending(settings)
    until(lambda: not history.count_pending(settings))
    (found,) = history.read(settings, id).turns
    assert (found.question, found.state) == ("Cut short", "failed")
    assert "app ended" in found.error
    assert list(settings.outbox.iterdir()) == []


def test_an_answer_that_was_saved_just_before_a_kill_is_not_replaced_by_its_draft(
    settings: Settings, store: Store
) -> None:
    store.away = True
    id, turn = new_id(), ended_turn("Saved")
    draft = history.draft(settings, id, turn, [], None, "")
    history.save(settings, id, turn, [])
    assert draft is not None
    draft.rename(draft.with_name(draft.name.replace(f"-{os.getpid()}.", "-999999999.")))  # of a process that died
    history.start_sending(settings)
    store.away = False
    assert history.flush(settings)
    assert store.sent == ["Saved"]
    assert list(history.read(settings, id).turns) == [turn]


def test_a_process_that_has_the_number_of_a_dead_one_is_not_taken_for_it(settings: Settings) -> None:
    """In a container every life of the app has the same number."""
    id, turn = new_id(), ended_turn("Of an earlier life", state="running", answer="")
    draft = history.draft(settings, id, turn, [], None, "")
    assert draft is not None
    draft.rename(draft.with_name(f"{1:020d}-000000-{os.getpid()}.json.draft"))
    mine = history.draft(settings, id, ended_turn("Of this one"), [], None, "")
    (settings.outbox / f"{1:020d}-000001-{os.getpid()}.json.part").write_text("{half")
    history.start_sending(settings)
    until(lambda: not history.count_pending(settings))
    assert [turn.question for turn in history.read(settings, id).turns] == ["Of an earlier life"]
    assert list(settings.outbox.iterdir()) == [mine]


def _send_some(home: str, uri: str, id: str, count: int, log: str, together: Any) -> None:
    """In a process of its own: save turns, wait for the other, and note each one that this process sends."""
    os.environ["PHI3_HOME"], os.environ["MLFLOW_TRACKING_URI"] = home, uri
    config = settings_module.load_settings()
    real, ready = turn_trace.send_turn, False

    def noted(settings: Settings, event: dict[str, Any], again: bool) -> None:
        if not ready:
            raise StoreDown("Not yet.")
        with Path(log).open("a") as file:
            file.write(event["turn"]["id"] + "\n")
        real(settings, event, again)

    turn_trace.send_turn = noted  # type: ignore[assignment]
    for number in range(count):
        history.save(config, id, ended_turn(f"{os.getpid()} {number}"), [])
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
