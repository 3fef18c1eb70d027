"""Several versions are asked the same, at once and going on, and found again."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from phi3core.chat import history, live_conversations
from phi3core.chat.conversation import Conversation
from phi3core.chat.replay import start
from phi3core.errors import BadInput, NotFound, ServerError
from phi3core.evaluation import comparison
from phi3core.evaluation.comparison import Candidate, Comparison
from phi3core.registry.models import Version
from phi3core.serving import memory
from phi3core.settings import Settings
from phi3core.store.client import mlflow_client
from phi3core.traces.turn import Turn
from tests.app.servers import FakePool, HeldEngine
from tests.support import fakes


def begun(settings: Settings, pool: FakePool, versions: Sequence[Version], **more: object) -> Comparison:
    """Ended, too."""
    candidates = [Candidate(version, version.ref, {"max_tokens": 9}) for version in versions]
    return ended(comparison.begin(settings, pool, candidates, "Capital?", user="ada", **more))  # type: ignore[arg-type]


def ended(found: Comparison) -> Comparison:
    fakes.until(lambda: not found.running)
    return found


def turns(found: Comparison) -> list[list[Turn]]:
    return [[entry.turn for entry in round.entries] for round in found.rounds]


def test_all_are_asked_at_once_with_one_seed_and_their_own_options(
    settings: Settings, pool: FakePool, versions: list[Version], engines: dict[str, fakes.FakeEngine]
) -> None:
    held = {ref: HeldEngine(("It ", "is."), hold_at=1) for ref in engines}
    pool.engines = held.__getitem__
    asked = [Candidate(version, options={"temperature": 0.1 * at}) for at, version in enumerate(versions)]
    found = comparison.begin(settings, pool, asked, "Capital?", "Be brief.")  # type: ignore[arg-type]
    assert fakes.until(lambda: all(engine.holding.is_set() for engine in held.values())), "one waits for another"
    for engine in held.values():
        engine.go.set()
    ((*answers,),) = turns(ended(found))
    assert [turn.ref for turn in answers] == [version.ref for version in versions]
    assert {turn.answer for turn in answers} == {"It is."}
    assert len({turn.seed for turn in answers}) == 1
    assert [engine.asked[0].temperature for engine in held.values()] == pytest.approx([0, 0.1, 0.2, 0.3])
    assert {engine.prompts[0] for engine in held.values()} == {"<system>Be brief.<user>Capital?"}
    assert {turn.memory for turn in answers} == {123_000_000}


def test_each_has_a_seed_of_its_own_where_that_is_wanted(
    settings: Settings, pool: FakePool, versions: list[Version]
) -> None:
    (answers,) = turns(begun(settings, pool, versions, same_seed=False))
    assert len({turn.seed for turn in answers}) == 4


def test_it_is_found_again_by_its_id_and_goes_on_with_what_each_has_said(
    settings: Settings, pool: FakePool, versions: list[Version], engines: dict[str, fakes.FakeEngine]
) -> None:
    first = begun(settings, pool, versions[:2])
    assert history.flush(settings)
    live_conversations._live.clear()
    found = comparison.load(settings, pool, first.id)  # type: ignore[arg-type]
    assert turns(found)[0][0].answer == "Madrid it is. "
    comparison.go_on(settings, pool, found, "Sure?", "bob")  # type: ignore[arg-type]
    one, two = turns(ended(found))[1]
    assert engines["phi3/1"].prompts[1] == "<user>Capital?<assistant>Madrid it is. <user>Sure?"
    assert engines["phi3/2"].prompts[1] == "<user>Capital?<assistant>It is Madrid. <user>Sure?"
    assert (one.user, one.options, one.seed == two.seed) == ("bob", {"max_tokens": 9}, True)
    assert one.seed != turns(found)[0][0].seed


def test_what_one_does_not_take_is_left_out_and_told(
    settings: Settings, pool: FakePool, versions: list[Version], engines: dict[str, fakes.FakeEngine]
) -> None:
    engines["phi3/2"].supports = frozenset({"max_tokens"})
    candidates = [Candidate(version, options={"top_k": 3}) for version in versions[:2]]
    found = comparison.begin(settings, pool, candidates, "Capital?")  # type: ignore[arg-type]
    ((one, two),) = turns(ended(found))
    assert (one.note, two.note) == ("", "Asked without top_k, which this model does not take.")
    assert two.state == "done"


def test_two_to_four_different_ones_are_compared_and_something_must_be_asked(
    settings: Settings, pool: FakePool, versions: list[Version]
) -> None:
    for chosen, error in (
        (versions[:1], "two to four"),
        ([*versions, versions[0]], "two to four"),
        ([versions[0]] * 2, "phi3/1 is chosen twice"),
    ):
        with pytest.raises(BadInput, match=error):
            begun(settings, pool, chosen)
    with pytest.raises(BadInput, match="empty"):
        comparison.begin(settings, pool, [Candidate(v) for v in versions], " \n")  # type: ignore[arg-type]
    assert not live_conversations._live


def test_a_version_that_is_deleted_meanwhile_is_asked_no_more_and_one_alone_is_not_compared(
    settings: Settings, pool: FakePool, versions: list[Version]
) -> None:
    found = begun(settings, pool, versions[:3])
    mlflow_client(settings).delete_model_version("phi3", "1")
    comparison.go_on(settings, pool, found, "Sure?")  # type: ignore[arg-type]
    assert [[turn.ref for turn in answers] for answers in turns(ended(found))] == [
        ["phi3/1", "phi3/2", "phi3/3"],
        ["phi3/2", "phi3/3"],
    ]
    mlflow_client(settings).delete_model_version("phi3", "2")
    with pytest.raises(NotFound, match="Fewer than two"):
        comparison.go_on(settings, pool, found, "Really?")  # type: ignore[arg-type]


def test_memory_that_is_short_for_all_at_once_is_told_before_any_is_asked(
    settings: Settings, pool: FakePool, versions: list[Version], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory, "available", lambda: 900_000_000)
    with pytest.raises(ServerError, match=r"phi3/1, phi3/2 and phi3/3 at once take about 1.5 GB .* 900 MB are free"):
        begun(settings, pool, versions[:3])
    assert not pool.opened
    monkeypatch.setattr(memory, "available", lambda: 2_000_000_000)
    begun(settings, pool, versions[:2])  # what is open already takes no more
    monkeypatch.setattr(memory, "available", lambda: 0)
    begun(settings, pool, versions[:2])


def test_answers_can_be_stopped_and_what_came_is_kept(
    settings: Settings, pool: FakePool, versions: list[Version]
) -> None:
    pool.engines = lambda ref: HeldEngine(("It ", "is."), hold_at=1)
    found = comparison.begin(settings, pool, [Candidate(version) for version in versions], "Capital?")  # type: ignore[arg-type]
    fakes.until(lambda: all(turn.answer for turn in turns(found)[0]))
    with pytest.raises(BadInput, match="still coming"):
        comparison.go_on(settings, pool, found, "Sure?")  # type: ignore[arg-type]
    found.stop()
    (answers,) = turns(ended(found))
    assert {(turn.state, turn.answer) for turn in answers} == {("stopped", "It ")}


def test_a_replay_is_a_comparison_of_what_was_recorded_and_what_was_repeated(
    settings: Settings, pool: FakePool, versions: list[Version]
) -> None:
    talk = live_conversations.add_conversation(Conversation(settings, pool))  # type: ignore[arg-type]
    talk.ask(versions[0], "Capital?").wait()
    again = start(talk, versions[1])
    for _ in again.follow(0.02):
        pass
    found = comparison.load_replay(settings, pool, again.conversation.id)  # type: ignore[arg-type]
    assert [[turn.ref for turn in answers] for answers in turns(found)] == [["phi3/1", "phi3/2"]]
    with pytest.raises(BadInput, match="replay"):
        comparison.go_on(settings, pool, found, "Sure?")  # type: ignore[arg-type]
    with pytest.raises(BadInput, match="repeats no other"):
        comparison.load_replay(settings, pool, talk.id)  # type: ignore[arg-type]


@pytest.mark.parametrize("id", ["0" * 32, "a'b", ""])
def test_an_id_of_none_is_one_sentence(settings: Settings, pool: FakePool, id: str) -> None:
    with pytest.raises((NotFound, BadInput)):
        comparison.load(settings, pool, id)  # type: ignore[arg-type]
