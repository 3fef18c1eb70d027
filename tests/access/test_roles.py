"""Who may do what, from the secrets file; and that what changes something asks."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest

from phi3core.access import roles
from phi3core.access.api_keys import generate_key, hash_key, key_required, person_with_key
from phi3core.access.login import load_login
from phi3core.access.roles import Person, local_person, signed_in_person
from phi3core.build import jobs
from phi3core.build.steps import BuildSpec
from phi3core.chat import conversation, history, import_export, prompts
from phi3core.chat.conversation import Conversation, delete_conversation, load_conversation, rename_conversation
from phi3core.chat.search import search_conversations
from phi3core.errors import BadInput, Forbidden, NotFound, Phi3Error
from phi3core.settings import Settings
from phi3core.traces.turn import Turn

LOGIN = """
[auth]
redirect_uri = "https://play.example/oauth2callback"
cookie_secret = "0123456789abcdef0123456789abcdef"
client_id = "phi3"
client_secret = "s"
server_metadata_url = "https://id.example/.well-known/openid-configuration"
"""
ROLES = """
[roles]
reviewer = ["rita@example.org", "group:team"]
releaser = ["group:ml-release", "  Ralph@Example.org "]
admin = ["ada@example.org"]
"""
VERA, RITA, RALPH, ADA = (
    Person(f"{name}@example.org", role) for name, role in zip(("vera", "rita", "ralph", "ada"), roles.ROLES)
)


@pytest.fixture(autouse=True)
def _forget() -> Iterator[None]:
    yield
    conversation._live.clear()


@pytest.fixture
def say(settings: Settings) -> Callable[[str], Settings]:
    def write(text: str) -> Settings:
        settings.secrets.write_text(text)
        load_login.cache_clear()
        return settings

    return write


# ---------------------------------------------------------------- roles


def test_a_role_is_found_by_address_in_any_case_and_by_group_and_the_highest_counts(
    say: Callable[[str], Settings],
) -> None:
    config = say(LOGIN + ROLES)
    assert signed_in_person(config, "Ada@Example.org").role == "admin"
    assert signed_in_person(config, "ralph@example.org").role == "releaser"
    assert signed_in_person(config, "rita@example.org", ["ml-release"]).role == "releaser"
    assert signed_in_person(config, "vera@example.org", ["team", "other"]).role == "reviewer"
    assert signed_in_person(config, "vera@example.org", ["ML-RELEASE"]).role == "viewer"  # groups are named exactly
    assert signed_in_person(config, "group:team").role == "viewer"  # an address is no group
    assert signed_in_person(config, "ml-release").role == "viewer"


def test_the_default_is_for_everybody_who_signed_in_and_none_is_nobody(say: Callable[[str], Settings]) -> None:
    assert signed_in_person(say(LOGIN), "vera@example.org").role == "viewer"
    assert signed_in_person(say(LOGIN + '[roles]\ndefault = "reviewer"'), "vera@example.org").role == "reviewer"
    nobody = signed_in_person(
        say(LOGIN + '[roles]\ndefault = "none"\nviewer = ["rita@example.org"]'), "vera@example.org"
    )
    assert not nobody.may("viewer")
    with pytest.raises(Forbidden, match="Chatting needs the role viewer, and vera@example.org has no role here"):
        roles.require(nobody, "viewer", "chatting")


def test_each_role_may_what_the_ones_before_it_may() -> None:
    assert [[person.may(role) for role in roles.ROLES] for person in (VERA, RITA, RALPH, ADA)] == [
        [True, False, False, False],
        [True, True, False, False],
        [True, True, True, False],
        [True, True, True, True],
    ]


def test_roles_are_read_anew(say: Callable[[str], Settings], settings: Settings) -> None:
    config = say(LOGIN)
    assert signed_in_person(config, "vera@example.org").role == "viewer"
    settings.secrets.write_text(LOGIN + '[roles]\nadmin = ["vera@example.org"]')
    assert signed_in_person(config, "vera@example.org").role == "admin"


def test_the_user_of_a_machine_is_its_admin_until_somebody_has_a_role_or_signs_in(
    say: Callable[[str], Settings], settings: Settings
) -> None:
    sue = replace(settings, user="sue")
    assert local_person(sue) == Person("sue", "admin")
    assert local_person(settings).name
    say(ROLES)
    assert local_person(sue) == Person("sue", "viewer")
    say('[roles]\nreleaser = ["sue"]')
    assert local_person(sue) == Person("sue", "releaser")
    say(LOGIN)
    assert local_person(sue) == Person("sue", "viewer")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[roles", "not written as TOML"),
        ("roles = 3", "“roles” must be a table"),
        ('[roles]\nboss = ["ada"]', "“boss” is no role. The roles are viewer, reviewer, releaser, admin"),
        ('[roles]\nadmin = "ada"', "“admin” must be a list"),
        ("[roles]\nadmin = [3]", "“admin” must be a list"),
        ('[roles]\ndefault = "boss"', "“default” is “boss”"),
        ("[roles]\ngroups_claim = 3", "“groups_claim” must be text"),
    ],
)
def test_a_table_that_makes_no_sense_gives_nobody_a_role(say: Callable[[str], Settings], text: str, words: str) -> None:
    config = say(text)
    for find in (local_person, lambda config: signed_in_person(config, "ada@example.org")):
        with pytest.raises(BadInput, match=words):
            find(config)


# ---------------------------------------------------------------- the login


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (('client_secret = "s"', ""), "“client_secret” is missing"),
        (("https://play.example/oauth2callback", "https://play.example/"), "/oauth2callback behind it"),
        (("https://play.example/oauth2callback", "play.example/oauth2callback"), "/oauth2callback behind it"),
        (("0123456789abcdef0123456789abcdef", "secret"), "short enough to be guessed"),
    ],
)
def test_a_login_that_could_not_work_or_not_protect_is_refused(
    say: Callable[[str], Settings], change: tuple[str, str], words: str
) -> None:
    with pytest.raises(BadInput, match=words):
        load_login(say(LOGIN.replace(*change)))


def test_a_login_that_is_gone_from_the_file_opens_nothing(say: Callable[[str], Settings], settings: Settings) -> None:
    config = say(LOGIN + ROLES)
    assert load_login(config)["client_id"] == "phi3"
    for text in ("", ROLES):
        settings.secrets.write_text(text)
        assert load_login(config)
        assert key_required(replace(config, api_key="x"))
        for find in (local_person, lambda config: signed_in_person(config, "ada@example.org")):
            with pytest.raises(BadInput, match=r"has no \[auth\] any more"):
                find(config)
    settings.secrets.unlink()
    with pytest.raises(BadInput):
        local_person(config)


# ---------------------------------------------------------------- keys


def test_a_key_is_known_by_its_hash_and_is_somebodys(say: Callable[[str], Settings]) -> None:
    key, other = generate_key(), generate_key()
    assert key != other
    assert len(key) > 40
    text = f'{ROLES}[keys]\n{hashlib.sha256(key.encode()).hexdigest()} = "ralph@example.org"\n'
    config = say(text)
    assert key not in text
    assert person_with_key(config, key) == Person("ralph@example.org", "releaser")
    for wrong in (other, "", key[:-1], key + " ", hash_key(key), "schlüssel"):
        assert person_with_key(config, wrong) is None
    assert key_required(config)


def test_without_keys_and_login_none_is_needed_and_the_one_of_the_environment_is_the_local_users(
    settings: Settings,
) -> None:
    assert not key_required(settings)
    assert person_with_key(settings, "") is None
    own = replace(settings, api_key="sesame", user="sue")
    assert key_required(own)
    assert person_with_key(own, "sesame") == Person("sue", "admin")
    assert person_with_key(own, "") is None
    assert "sesame" not in repr(own)


@pytest.mark.parametrize("line", ['abc = "ada"', f"{'0' * 64} = 3", f'{"0" * 64} = ""'])
def test_a_line_that_is_no_key_is_told_without_telling_it(say: Callable[[str], Settings], line: str) -> None:
    with pytest.raises(BadInput, match="python -m phi3core key EMAIL"):
        person_with_key(say(f"[keys]\n{line}"), "x")


# ---------------------------------------------------------------- asked by what changes something

RATED = Turn("One?", "phi3/1", answer="Uno.", state="done", user="vera@example.org", when=1)


@pytest.mark.parametrize(
    ("act", "role"),
    [
        (lambda config, who: prompts.save(config, "greet", "Hello", person=who), "reviewer"),
        (lambda config, who: prompts.delete(config, "greet", who), "reviewer"),
        (lambda config, who: history.rate(config, "0" * 32, replace(RATED, thumb=True), who), "reviewer"),
        (lambda config, who: Conversation(config, None, turns=[RATED]).rate(RATED, True, person=who), "reviewer"),  # type: ignore[arg-type]
        (lambda config, who: jobs.start(config, BuildSpec("onnx", source="/nowhere"), who), "releaser"),
        (lambda config, who: jobs.cancel(config, "0" * 32, who), "releaser"),
    ],
)
def test_what_changes_something_is_refused_below_its_role_and_only_there(
    settings: Settings, act: Callable[[Settings, Person], Any], role: str
) -> None:
    thumb = RATED.thumb
    for person in (Person("x", roles.NO_ROLE), VERA, RITA, RALPH, ADA):
        if person.may(role):
            try:
                act(settings, person)
            except Forbidden:
                raise
            except Phi3Error:
                pass  # refused for another reason, later
        else:
            with pytest.raises(Forbidden, match=f"needs the role {role}, and {person.name}"):
                act(settings, person)
            assert RATED.thumb is thumb


def test_without_a_person_the_local_users_role_counts(say: Callable[[str], Settings]) -> None:
    config = say(ROLES)
    for act in (
        lambda: prompts.save(config, "greet", "Hello"),
        lambda: jobs.start(config, BuildSpec("onnx", source="/nowhere")),
        lambda: history.rate(config, "0" * 32, RATED),
    ):
        with pytest.raises(Forbidden):
            act()


def test_what_is_made_carries_who_made_it(settings: Settings) -> None:
    assert prompts.save(settings, "greet", "Hello", person=RITA).user == "rita@example.org"


@pytest.fixture
def veras(settings: Settings) -> str:
    """The id of a conversation that Vera began and Rita went on with, in the store and nowhere else."""
    made = Conversation(settings, None, user=VERA.name)  # type: ignore[arg-type]
    first = replace(RATED, id="a" * 32, when=1000)
    made.adopt([first, Turn("Two?", "phi3/1", parent=first.id, answer="Dos.", state="done", when=2000, user=RITA.name)])
    assert history.flush(settings), history.sending_error(settings)
    conversation._live.clear()  # as if the app had started again
    return made.id


@pytest.mark.parametrize(
    "act", [lambda *a: rename_conversation(a[0], a[1], "New", a[2]), delete_conversation, history.delete]
)
@pytest.mark.parametrize("live", [False, True])
def test_somebody_elses_conversation_is_left_alone_but_by_an_admin(
    settings: Settings, veras: str, act: Callable[[Settings, str, Person], None], live: bool
) -> None:
    if live:
        load_conversation(settings, None, veras, RITA.name)  # type: ignore[arg-type]
    assert history.author(settings, veras) == VERA.name
    assert [summary.author for summary in search_conversations(settings).conversations] == [VERA.name]
    for other in (RITA, RALPH, Person(VERA.name, roles.NO_ROLE)):
        with pytest.raises(Forbidden, match="Only vera@example.org may (rename|delete) this conversation, or an admin"):
            act(settings, veras, other)
    assert history.flush(settings)
    assert history.read(settings, veras).title == "One?"
    act(settings, veras, VERA)


def test_an_admin_deletes_what_is_not_theirs(settings: Settings, veras: str) -> None:
    delete_conversation(settings, veras, ADA)
    assert history.flush(settings)
    with pytest.raises(NotFound):
        history.author(settings, veras)


def test_a_branch_belongs_to_whoever_branched(settings: Settings, veras: str) -> None:
    found = load_conversation(settings, None, veras)  # type: ignore[arg-type]
    branch = found.branch(found.path[-1], RITA.name)
    assert branch.author == RITA.name
    assert found.author == VERA.name


def test_a_file_brings_back_who_said_what_for_an_admin_only(settings: Settings) -> None:
    made = Conversation(settings, None, turns=[replace(RATED, thumb=True, rated_by=ADA.name)])  # type: ignore[arg-type]
    data = import_export.to_json(made).encode()
    for person, user, rated in ((RALPH, RALPH.name, (None, "")), (ADA, VERA.name, (True, ADA.name))):
        (back,) = import_export.import_file(settings, None, "c.json", data, person)  # type: ignore[arg-type]
        (turn,) = back.path
        assert (turn.user, (turn.thumb, turn.rated_by)) == (user, rated)
