"""A turn as it is written, followed and stopped."""

from __future__ import annotations

import threading
import time

from phi3core.chat.live_turn import LiveTurn, Outcome
from phi3core.traces.turn import Turn


def asked() -> LiveTurn:
    return LiveTurn(Turn("Hello", "phi3/1"), waiting="Opening the version")


def test_a_piece_grows_the_answer_counts_a_token_and_ends_the_waiting() -> None:
    live = asked()
    assert live.waiting == "Opening the version"
    for piece in ("Mad", "rid"):
        live.append(piece)
    assert (live.turn.answer, live.turn.completion_tokens, live.waiting) == ("Madrid", 2, "")
    assert live.turn.state == "running"


def test_a_follower_is_woken_by_each_change_and_sees_the_end_last() -> None:
    live, seen = asked(), list[tuple[str, str, str]]()
    written = threading.Event()

    def write() -> None:
        for act in (lambda: live.set_waiting("Loading"), lambda: live.append("Madrid."), live.end_answer):
            act()
            written.wait(0.2)
        live.finish(Outcome("done"))

    thread = threading.Thread(target=write)
    began = time.monotonic()
    thread.start()
    for turn in live.follow(every=0.0):
        seen.append((turn.answer, live.waiting, turn.state))
    thread.join()

    assert seen[-1] == ("Madrid.", "", "done")
    assert ("", "Loading", "running") in seen
    assert ("Madrid.", "", "running") in seen
    assert time.monotonic() - began < 5  # woken, and not by the second at which it looks anyway


def test_an_outcome_is_seen_on_a_copy_before_the_turn_has_ended() -> None:
    live = asked()
    live.append("half a \ud800 character")
    live.end_answer()
    ended = live.ended(Outcome("failed", "The context is full.", context_full=True))
    assert (ended.state, ended.error, ended.full) == ("failed", "The context is full.", True)
    assert ended.answer == "half a \ufffd character"
    assert (live.turn.state, live.turn.error) == ("running", "")
    live.finish(Outcome("failed", "The context is full.", context_full=True))
    assert live.wait() == ended


def test_stopping_hangs_up_whether_it_comes_before_the_connection_or_after() -> None:
    calls: list[str] = []
    early, late = asked(), asked()
    early.stop()
    early.when_stopped(lambda: calls.append("early"))
    late.when_stopped(lambda: calls.append("late"))
    assert calls == ["early"]
    assert not late.stopping
    late.stop()
    assert calls == ["early", "late"]
    assert late.stopping


def test_notes_are_sentences_one_after_the_other() -> None:
    live = asked()
    live.add_note("One.")
    live.add_note("Two.")
    assert live.turn.note == "One. Two."
