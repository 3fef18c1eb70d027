"""The door before every page, and what a role lets a page offer. Who signed in is what stands in for the provider."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import streamlit as st
from streamlit.testing.v1 import AppTest

from pages.components.shared import ui
from phi3core.access.login import load_login
from phi3core.access.roles import Person
from phi3core.chat import history, live_conversations, prompts
from phi3core.chat.conversation import Conversation
from phi3core.chat.live_conversations import add_conversation, load_conversation
from phi3core.chat.live_turn import LiveTurn
from phi3core.errors import Forbidden
from phi3core.settings import Settings
from phi3core.traces.turn import Turn
from tests.app.builds import past_build
from tests.app.conftest import ROOT, Open, Register, said
from tests.app.servers import FakePool
from tests.app.talks import shown
from tests.support.secrets import LOGIN

PAGES = sorted(path.stem.removesuffix("_page") for path in Path(ROOT / "pages").glob("*_page.py"))
VERA = {"is_logged_in": True, "email": "vera@example.org", "email_verified": True}


@pytest.fixture
def sign_in(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Make the app ask for a login, and somebody sign in with these claims; none: nobody has."""

    def sign_in(claims: dict[str, Any], roles: str = "") -> None:
        settings.secrets.write_text(f"{LOGIN}[roles]\n{roles}\n")
        load_login.cache_clear()
        monkeypatch.setattr(ui, "claims", lambda: claims)

    return sign_in


def drawn(at: AppTest) -> str:
    """Everything that is on the page."""
    return repr(at.main) + repr(at.sidebar)


def keys_of(at: AppTest) -> set[str]:
    return {str(button.key) for button in at.button}


@pytest.mark.parametrize("page", PAGES)
def test_before_the_sign_in_every_page_is_the_sign_in_page(
    open_page: Open, register: Register, settings: Settings, sign_in: Callable[..., None], page: str
) -> None:
    register("secret-model")
    sign_in({})
    at = open_page(page, model="secret-model", version="1", ref="secret-model/1")
    assert not at.exception
    assert keys_of(at) == {"sign_in"}
    assert "Sign in to go on." in said(at)
    assert "secret-model" not in drawn(at)
    assert not at.sidebar.children


def test_who_has_signed_in_is_shown_with_the_role_and_a_way_out(open_page: Open, sign_in: Callable[..., None]) -> None:
    sign_in(VERA, 'releaser = ["vera@example.org"]')
    at = open_page("home")
    assert not at.exception
    assert at.title[0].value == "Phi-3 Playground"
    assert "vera" in at.sidebar.markdown[0].value
    assert "releaser" in at.sidebar.markdown[0].value
    assert "sign_out" in keys_of(at)
    assert ui_person(at) == Person("vera@example.org", "releaser")


def test_the_single_user_of_a_machine_sees_no_door(open_page: Open) -> None:
    at = open_page("home")
    assert not at.sidebar.markdown
    assert keys_of(at) & {"sign_in", "sign_out"} == set()


def test_a_group_gives_its_role_by_whatever_claim_the_provider_uses(
    open_page: Open, sign_in: Callable[..., None]
) -> None:
    roles = 'reviewer = ["group:team"]\ngroups_claim = "roles"'
    for told, role in ((["team", 3], "reviewer"), ("team", "reviewer"), (None, "viewer"), ({"team": 1}, "viewer")):
        sign_in({**VERA, "roles": told}, roles)
        assert ui_person(open_page("home")).role == role


def test_who_has_no_role_sees_only_that(open_page: Open, register: Register, sign_in: Callable[..., None]) -> None:
    register("secret-model")
    sign_in(VERA, 'default = "none"')
    at = open_page("registry", model="secret-model")
    assert "has no role here" in said(at)
    assert keys_of(at) == {"sign_out"}
    assert "secret-model" not in drawn(at)


@pytest.mark.parametrize("change", [{"email": ""}, {"email": None}, {"email": ["ada"]}, {"email_verified": False}])
def test_an_address_that_nobody_vouches_for_gives_no_role(
    open_page: Open, sign_in: Callable[..., None], change: dict[str, Any]
) -> None:
    sign_in({**VERA, **change}, 'admin = ["vera@example.org"]')
    at = open_page("home")
    assert "tells no e-mail address" in shown(at.error[0].value)
    assert keys_of(at) == {"sign_in_again", "sign_out"}


def test_a_secrets_file_that_is_damaged_while_the_app_runs_lets_nobody_act(
    open_page: Open, settings: Settings, register: Register, sign_in: Callable[..., None]
) -> None:
    register("secret-model")
    sign_in(VERA, 'admin = ["vera@example.org"]')
    assert open_page("home").title
    settings.secrets.write_text("[roles")
    at = open_page("home")
    assert "secrets.toml is not written as TOML" in shown(at.error[0].value)
    assert "secret-model" not in drawn(at)
    settings.secrets.write_text(LOGIN)
    assert at.button(key="sign_in_again").click().run().title[0].value == "Phi-3 Playground"


def test_a_role_that_was_taken_away_is_gone_at_the_next_click(
    open_page: Open, settings: Settings, sign_in: Callable[..., None]
) -> None:
    sign_in(VERA, 'releaser = ["vera@example.org"]')
    at = open_page("build")
    assert "build_start" in keys_of(at)
    sign_in(VERA)
    at.button(key="build_start").click().run()
    assert "build_start" not in keys_of(at)
    assert "takes the role releaser" in said(at)


# ---------------------------------------------------------------- what a viewer is not offered


def test_a_viewer_sees_builds_and_can_neither_start_nor_cancel_one(
    open_page: Open, settings: Settings, sign_in: Callable[..., None]
) -> None:
    past_build(settings, status="FAILED", reason="It broke.")
    sign_in(VERA)
    at = open_page("build")
    assert "It broke." in shown(said(at))
    assert keys_of(at) == {"sign_out"}


@pytest.fixture
def talk(settings: Settings, servers: FakePool) -> str:
    """A conversation that Ada began, with a rated answer."""
    turn = Turn("One?", "phi3/1", answer="Uno.", state="done", user="ada@example.org", thumb=True, rated_by="ada")
    made = Conversation(settings, servers, user="ada@example.org")  # type: ignore[arg-type]
    made.adopt([turn])
    return add_conversation(made).id


def test_a_viewer_reads_somebodys_conversation_and_goes_on_from_it_in_one_of_their_own(
    open_page: Open, register: Register, settings: Settings, sign_in: Callable[..., None], talk: str
) -> None:
    register()
    sign_in(VERA)
    at = open_page("chat", c=talk)
    assert not at.exception
    keys = keys_of(at)
    assert f"share_replay_{talk}" in keys
    assert not keys & {f"share_rename_{talk}", f"share_delete_{talk}"}
    assert all(widget.disabled for widget in at.feedback)
    assert not [key for key in keys if key.startswith("turn_comment_save")]
    assert not [key for key in keys if key == "chat_again" or key.startswith("turn_edit_open_")]
    assert not at.chat_input
    assert "conversation: you read it" in said(at)

    at.button(key="chat_branch").click().run()
    at.chat_input(key="chat_input").set_value("Hello").run()

    own = load_conversation(settings, None, str(at.query_params["c"]))  # type: ignore[arg-type]
    assert [(turn.question, turn.user) for turn in own.path] == [(q, "vera@example.org") for q in ("One?", "Hello")]
    assert own.id != talk
    assert len(load_conversation(settings, None, talk).tree) == 1  # type: ignore[arg-type]


def test_beside_the_box_for_messages_stands_who_reads_them(
    open_page: Open, register: Register, sign_in: Callable[..., None], monkeypatch: pytest.MonkeyPatch, talk: str
) -> None:
    register()
    assert "this conversation." not in said(open_page("chat"))  # a single user has nobody to be told of
    sign_in(VERA)
    assert "Everybody who may sign in here reads this conversation." in said(open_page("chat"))
    monkeypatch.setenv("PHI3_PRIVATE", "1")
    st.cache_resource.clear()
    live_conversations._live.clear()  # as after a start of the app
    at = open_page("chat", c=talk)
    assert "You and the admins read this conversation." in said(at)
    assert "is not in the store" in at.warning[0].value
    assert "Uno." not in drawn(at)


def test_what_another_has_asked_is_stopped_by_them_or_an_admin(
    open_page: Open, register: Register, sign_in: Callable[..., None], servers: FakePool, settings: Settings, talk: str
) -> None:
    register()
    going = load_conversation(settings, servers, talk)  # type: ignore[arg-type]
    turn = Turn("Two?", "phi3/1", parent=going.path[-1].id, user="ada@example.org")
    going.tree[turn.id], going.live, going._leaf = turn, LiveTurn(turn), turn.id
    for claims, roles, may in (
        (VERA, 'releaser = ["vera@example.org"]', False),
        ({**VERA, "email": "ada@example.org"}, "", True),
        (VERA, 'admin = ["vera@example.org"]', True),
    ):
        sign_in(claims, roles)
        at = open_page("chat", c=talk)
        assert ("chat_stop" in keys_of(at)) == may
    turn.state = "stopped"


def test_its_author_and_an_admin_may_rename_and_delete_it(
    open_page: Open, register: Register, sign_in: Callable[..., None], talk: str
) -> None:
    register()
    for claims, roles in (({**VERA, "email": "Ada@example.org"}, ""), (VERA, 'admin = ["vera@example.org"]')):
        sign_in(claims, roles)
        assert {f"share_rename_{talk}", f"share_delete_{talk}"} <= keys_of(open_page("chat", c=talk))


def test_a_reviewers_thumb_is_kept_under_their_address(
    open_page: Open, register: Register, settings: Settings, sign_in: Callable[..., None], talk: str
) -> None:
    register()
    sign_in(VERA, 'reviewer = ["vera@example.org"]')
    at = open_page("chat", c=talk)
    at.feedback[0].set_value(0).run()
    turn = load_conversation(settings, None, talk).path[0]  # type: ignore[arg-type]
    assert (turn.thumb, turn.rated_by) == (False, "vera@example.org")


def test_a_viewer_uses_saved_prompts_and_saves_none(
    open_page: Open, register: Register, settings: Settings, sign_in: Callable[..., None]
) -> None:
    register()
    prompts.save(settings, "greet", "Hello")
    sign_in(VERA)
    at = open_page("chat")
    at.button(key="prompts_open_chat_insert").click().run()
    assert "prompts_insert" in keys_of(at)
    assert not keys_of(at) & {"prompts_edit", "prompts_delete"}
    with pytest.raises(Forbidden):
        prompts.delete(settings, "greet", Person("vera@example.org", "viewer"))


def test_the_list_of_conversations_offers_to_change_only_ones_own(
    open_page: Open, settings: Settings, sign_in: Callable[..., None], talk: str
) -> None:
    assert history.flush(settings), history.sending_error(settings)
    read = [":material/replay: Replay", ":material/download: Export"]
    change = [":material/edit: Rename", ":material/delete: Delete"]
    for claims, options in ((VERA, read), ({**VERA, "email": "ada@example.org"}, [*read, *change])):
        sign_in(claims)
        at = open_page("conversations")
        assert not at.exception
        assert sorted(at.get("menu_button")[0].proto.options) == sorted(options)  # type: ignore[attr-defined]


def ui_person(at: AppTest) -> Person:
    """Who the page takes its visitor for."""
    assert not at.exception
    found = ui.visitor()
    assert found is not None
    return found
