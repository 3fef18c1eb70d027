"""Where conversations are private only their authors and admins read them, by whatever way."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from phi3core import tags
from phi3core.access.login import load_login
from phi3core.access.roles import Person
from phi3core.chat import history, live_conversations
from phi3core.chat import replay as replays
from phi3core.chat.conversation import Conversation
from phi3core.chat.conversation_filter import ConversationFilter
from phi3core.chat.live_conversations import add_conversation, load_conversation
from phi3core.chat.search import search_conversations
from phi3core.errors import NotFound
from phi3core.evaluation import comparison
from phi3core.registry import reader
from phi3core.settings import Settings
from phi3core.traces import feedback
from phi3core.traces.turn import Origin
from tests.app.servers import FakePool
from tests.cli.commands import run
from tests.support import fakes
from tests.support.saved_turns import ended_turn, keep, new_id
from tests.support.secrets import LOGIN

ADA, BOB, ROOT = (
    Person(f"{name}@example.org", role) for name, role in (("ada", "viewer"), ("bob", "releaser"), ("root", "admin"))
)
READERS = [(Person("ADA@example.org", "viewer"), True), (BOB, False), (ROOT, True), (None, False)]
"""Who reads Ada's; None: the user of the machine, who is a viewer there."""


@pytest.fixture
def settings(settings: Settings) -> Iterator[Settings]:
    """Conversations are private, and people sign in."""
    settings.secrets.write_text(LOGIN)
    load_login.cache_clear()
    yield replace(settings, private=True)
    load_login.cache_clear()


@pytest.fixture
def adas(settings: Settings) -> str:
    return keep(settings, ended_turn("Where is the treasure?", "In Spain.", user=ADA.name))


@pytest.fixture(params=["live", "stored"])
def load(request: pytest.FixtureRequest, settings: Settings, pool: FakePool) -> Callable[..., Conversation]:
    def load(id: str, person: Person | None) -> Conversation:
        if request.param == "live":
            load_conversation(settings, pool, id, ADA)  # type: ignore[arg-type]
        else:
            live_conversations._live.clear()
        return load_conversation(settings, pool, id, person)  # type: ignore[arg-type]

    return load


@pytest.mark.parametrize(("person", "may"), READERS)
def test_it_is_opened_by_its_author_and_by_admins(
    adas: str, load: Callable[..., Conversation], person: Person | None, may: bool
) -> None:
    if may:
        assert load(adas, person).path[0].answer == "In Spain."
    else:
        with pytest.raises(NotFound, match="is not in the store"):  # not even that it is there is told
            load(adas, person)


@pytest.mark.parametrize(("person", "may"), READERS)
@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("", ConversationFilter()),
        ("treasure", ConversationFilter()),
        ("", ConversationFilter(user=ADA.name)),
        ("", ConversationFilter(ref="phi3/1")),
    ],
)
def test_lists_and_searches_find_what_one_may_read(
    settings: Settings, person: Person | None, may: bool, text: str, wanted: ConversationFilter
) -> None:
    id = keep(settings, ended_turn("Where is the treasure?", user=ADA.name))
    keep(settings, ended_turn("And the treasure?", user=BOB.name))
    found = search_conversations(settings, text, wanted=wanted, reader=person).conversations
    assert (id in [summary.id for summary in found]) == may
    if person == BOB and not wanted.user:
        assert [summary.author for summary in found] == [BOB.name]


@pytest.mark.parametrize(("person", "may"), READERS)
def test_what_the_store_has_not_got_is_listed_for_who_may_read_it(
    settings: Settings, person: Person | None, may: bool
) -> None:
    memory = replace(settings, tracing=False)
    history.save(memory, new_id(), ended_turn("Where is the treasure?", user=ADA.name), [])
    for text in ("", "treasure"):
        assert len(search_conversations(memory, text, reader=person).conversations) == may


def test_a_conversation_that_one_has_written_into_and_not_begun_is_anothers(settings: Settings) -> None:
    first = ended_turn("Mine?", user=ADA.name, when=1_000)
    id = keep(settings, first)
    keep(settings, ended_turn("Ours?", user=BOB.name, parent=first.id, when=2_000), id)
    assert search_conversations(settings, reader=BOB).conversations == []
    assert [found.id for found in search_conversations(settings, reader=ADA).conversations] == [id]


@pytest.mark.parametrize(("person", "may"), READERS)
def test_beside_a_version_all_is_counted_and_only_what_one_may_read_is_told(
    settings: Settings, person: Person | None, may: bool
) -> None:
    fakes.register(settings, "phi3", tags={tags.WRAPPER: "onnx"})
    version = reader.get_version(settings, "phi3/1")
    keep(settings, ended_turn("Where?", user=ADA.name, thumb=True, comment="Right.", rated_by=ADA.name))
    found = feedback.read_reviews(settings, version, reader=person)
    assert (found.up, found.conversations) == (1, 1)
    assert ([c.text for c in found.comments], [t.question for t in found.latest_conversations]) == (
        (["Right."], ["Where?"]) if may else ([], [])
    )


@pytest.mark.parametrize(("person", "may"), READERS)
def test_a_replay_is_followed_by_who_reads_it(
    settings: Settings, pool: FakePool, person: Person | None, may: bool
) -> None:
    made = [Conversation(settings, pool, user=ADA.name) for _ in range(2)]  # type: ignore[arg-type]
    made[1].origin = Origin("replay", made[0].id)
    for one in made:
        add_conversation(one).adopt([ended_turn(user=ADA.name)])
    replays._live[made[1].id] = held = replays.Replay(made[0], made[1], [])
    assert replays.find_replay(made[1].id, person) is (held if may else None)
    if may:
        assert comparison.load_replay(settings, pool, made[1].id, person).conversations == tuple(made)  # type: ignore[arg-type]
    else:
        with pytest.raises(NotFound):
            comparison.load_replay(settings, pool, made[1].id, person)  # type: ignore[arg-type]


def test_the_command_line_writes_no_file_of_anothers(
    adas: str, settings: Settings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PHI3_PRIVATE", "1")
    for user, told in (("bob@example.org", "is not in the store"), (ADA.name, "Wrote")):
        monkeypatch.setenv("PHI3_USER", user)
        live_conversations._live.clear()
        assert told in run("export", adas, "--output", str(tmp_path / "talk.json")).output
    assert (tmp_path / "talk.json").exists()


def test_where_they_are_not_private_everybody_reads_them(settings: Settings, adas: str, pool: FakePool) -> None:
    shared = replace(settings, private=False)
    assert [found.id for found in search_conversations(shared, reader=BOB).conversations] == [adas]
    assert load_conversation(shared, pool, adas, BOB).author == ADA.name  # type: ignore[arg-type]


def test_a_new_conversation_is_its_beginners_before_anything_is_said(settings: Settings, pool: FakePool) -> None:
    made = add_conversation(Conversation(settings, pool, user=ADA.name))  # type: ignore[arg-type]
    assert load_conversation(settings, pool, made.id, ADA) is made  # type: ignore[arg-type]
