"""Whose a conversation is: its author goes on with it, others read it and branch."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from phi3core.access.login import load_login
from phi3core.access.roles import Person
from phi3core.chat import replay
from phi3core.chat.conversation import Conversation
from phi3core.errors import Forbidden
from phi3core.registry.models import Version
from phi3core.settings import Settings
from tests.app.servers import FakePool, HeldEngine
from tests.chat.asking import WORDS
from tests.support import fakes
from tests.support.secrets import LOGIN

ADA, BOB = "ada@example.org", "bob@example.org"


@pytest.fixture(autouse=True)
def _people_sign_in(settings: Settings) -> Iterator[None]:
    settings.secrets.write_text(LOGIN)
    load_login.cache_clear()
    yield
    load_login.cache_clear()


@pytest.fixture
def adas(settings: Settings, pool: FakePool, version: Version) -> Conversation:
    """A conversation with one answer."""
    made = Conversation(settings, pool, user=ADA)  # type: ignore[arg-type]
    made.ask(version, "One?").wait()
    return made


def test_only_its_author_writes_into_a_conversation(adas: Conversation, version: Version) -> None:
    for refused in (
        lambda: adas.ask(version, "Two?", user=BOB),
        lambda: adas.ask(version, "Another first?", user=BOB, parent=""),
        lambda: adas.ask_again(version, user=BOB),
    ):
        with pytest.raises(Forbidden, match=f"Only {ADA} writes into this conversation: branch it"):
            refused()
    assert len(adas.tree) == 1
    adas.ask(version, "Two?", user="Ada@Example.org").wait()
    assert len(adas.tree) == 2


def test_who_reads_it_goes_on_in_a_branch(adas: Conversation, version: Version) -> None:
    branch = adas.branch(adas.path[-1], BOB)
    branch.ask(version, "Two?", user=BOB).wait()
    assert [turn.user for turn in branch.path] == [BOB, BOB]
    with pytest.raises(Forbidden):
        branch.ask(version, "Three?", user=ADA)
    assert len(adas.tree) == 1


@pytest.mark.parametrize(
    ("person", "may"),
    [
        (Person(BOB, "releaser"), False),
        (Person(BOB, "viewer"), False),
        (Person("ADA@example.org", "viewer"), True),
        (Person(BOB, "admin"), True),
    ],
)
def test_an_answer_is_stopped_by_who_asked_or_by_an_admin(
    adas: Conversation, version: Version, pool: FakePool, person: Person, may: bool
) -> None:
    held = HeldEngine(WORDS, hold_at=1)
    pool.close()
    pool.made.clear()
    pool.engines = lambda ref: held
    again = replay.start(adas, version, user=ADA)
    fakes.until(lambda: again.conversation.current and again.conversation.current.answer)
    for stop in (again.conversation.stop, again.stop):
        if not may:
            with pytest.raises(Forbidden, match=f"Only {ADA} may stop"):
                stop(person)
            assert again.state == "running"
    if may:
        again.stop(person)
    held.go.set()
    fakes.until(lambda: again.state != "running")
    assert again.state == ("stopped" if may else "done")


def test_where_nobody_signs_in_everybody_goes_on_with_everything(
    adas: Conversation, version: Version, settings: Settings
) -> None:
    settings.secrets.unlink()
    load_login.cache_clear()
    adas.ask(version, "Two?", user=BOB).wait()
    assert [turn.user for turn in adas.path] == [ADA, BOB]
