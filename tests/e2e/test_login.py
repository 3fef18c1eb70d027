"""Signing in at a real provider of OpenID Connect on this machine, and what a role then opens."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import oidc_provider_mock as provider
import pytest
from playwright.sync_api import Browser, Page, expect
from streamlit.web.server.starlette.starlette_app_utils import create_signed_value

from phi3core import tags
from phi3core.access import roles
from phi3core.access.api_keys import generate_key, hash_key
from phi3core.errors import Forbidden
from phi3core.promotion.promote import promote
from phi3core.promotion.record import search
from phi3core.registry import reader
from tests.e2e.conftest import PATIENCE, App, end, launch
from tests.e2e.conftest import _settings as settings_of
from tests.e2e.pages import settled
from tests.support.fakes import register

pytestmark = pytest.mark.browser

MODEL = "phi3-embedded"
VERSION_PAGE = f"registry?model={MODEL}&version=2"
# The first one is asked of a server that has drawn nothing yet.
PAGES = (VERSION_PAGE, "", "chat", "conversations", "registry", "promotions", "build", "no-such-page")
TAGS = {tags.WRAPPER: "onnx", tags.SOURCE: "embedded"}  # as of the demo, which is not built then
SIGN_IN_PAGE = [
    "Phi-3 Playground", "Sign in to go on.", "login", "Sign in", "It takes you to localhost and back to this page.",
]  # fmt: skip
# “login” is the name of an icon.
SECRET = "only-for-this-test-0123456789abcdef"
KEPT = ("metrics", "upload_file/page/1", "script-health-check")  # below /_stcore
VERA, NOBODY = "vera@example.org", "without-an-address"
RITA = {"email": "rita@example.org", "email_verified": True, "groups": ["team"]}


@pytest.fixture(scope="module")
def issuer() -> Iterator[str]:
    """The provider's address."""
    known = [
        provider.User(sub="vera", claims={"email": VERA, "email_verified": True, "groups": ["team"]}),
        provider.User(sub="rita", claims=RITA),
        provider.User(sub=NOBODY, claims={}),
    ]
    with provider.run_server_in_thread(user_claims=known) as server:
        yield f"http://localhost:{server.server_port}"


@pytest.fixture(scope="module")
def guarded(issuer: str, cache: Path, empty_store: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[App]:
    """An app with a login, for the whole network. Its two versions have no weights: nobody talks to them here."""
    folder = tmp_path_factory.mktemp("guarded")
    home = folder / "home"
    home.mkdir()
    shutil.copy(empty_store, home / "mlflow.db")
    (folder / "model").mkdir()
    (folder / "model" / "MLmodel").write_text("flavors: {python_function: {}}\nmetadata: {phi3: {wrapper: onnx}}\n")
    allow(folder / "secrets.toml", issuer)
    for _ in range(2):
        register(settings_of(home, cache), MODEL, (folder / "model").as_uri(), TAGS)
    app = launch(home, cache, options=("--address", "0.0.0.0"))
    yield app
    end(app)


def allow(secrets: Path, issuer: str, roles: str = "", more: str = "") -> None:
    """Write the secrets file, as its administrator would."""
    secrets.write_text(
        f"""
[auth]
redirect_uri = "http://localhost:{{port}}/oauth2callback"
cookie_secret = "{SECRET}"
client_id = "phi3"
client_secret = "s"
server_metadata_url = "{issuer}/.well-known/openid-configuration"
groups_minutes = 0.0001

[roles]
{roles}
{more}
"""
    )


@pytest.fixture
def page(chromium: Browser) -> Iterator[Page]:
    """A browser of one's own, which nobody has signed in with. The provider's pages may not ask others for anything."""
    context = chromium.new_context(viewport={"width": 1280, "height": 1000})
    context.set_default_timeout(PATIENCE * 1000)
    context.route(lambda url: urlsplit(url).hostname not in ("localhost", "127.0.0.1"), lambda route: route.abort())
    yield context.new_page()
    context.close()


def sign_in(page: Page, who: str = "vera") -> None:
    page.get_by_role("button", name="Sign in").click()
    page.get_by_role("button", name=who, exact=True).click()


def test_without_a_sign_in_no_page_and_no_deep_link_shows_anything(page: Page, guarded: App) -> None:
    received: list[bytes] = []
    page.on("websocket", lambda socket: socket.on("framereceived", lambda frame: received.append(_bytes(frame))))
    for path in PAGES:
        page.goto(f"{guarded.url}/{path}")
        expect(page.get_by_role("button", name="Sign in")).to_be_visible()
        settled(page)
        expect(page.get_by_test_id("stSidebar")).to_have_count(0)
        assert page.get_by_test_id("stMain").inner_text().split("\n\n") == SIGN_IN_PAGE
    assert [frame for frame in received if b"Sign in to go on." in frame]
    assert not [frame for frame in received if b"Production" in frame or str(guarded.settings.home).encode() in frame]


def _bytes(frame: str | bytes) -> bytes:
    return frame.encode() if isinstance(frame, str) else frame


def test_one_reads_as_a_viewer_and_promotes_as_a_releaser_under_ones_own_address(
    page: Page, guarded: App, issuer: str
) -> None:
    allow(guarded.secrets, issuer)
    page.goto(f"{guarded.url}/{VERSION_PAGE}")
    sign_in(page)
    # Back at the page that was asked for, as a viewer.
    expect(page).to_have_url(f"{guarded.url}/{VERSION_PAGE}")
    expect(page.get_by_test_id("stMain").get_by_text(f"{MODEL}/2").first).to_be_visible()
    settled(page)
    who = page.get_by_test_id("stSidebar")
    expect(who).to_contain_text(re.compile("vera\u2060?@example.org *viewer"))  # the joiner makes it no link
    move = page.get_by_role("button", name="Move to a stage")
    expect(move).to_have_count(0)
    vera = roles.signed_in_person(guarded.settings, VERA, ["team"])
    with pytest.raises(Forbidden, match="needs the role releaser"):
        promote(guarded.settings, f"{MODEL}/2", "Production", "as a viewer", vera)
    assert reader.get_version(guarded.settings, f"{MODEL}/2").stage == "None"

    # Given a role by her group, and without a restart or another sign-in.
    allow(guarded.secrets, issuer, 'releaser = ["group:team"]')
    page.reload()
    expect(who).to_contain_text("releaser")
    move.click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_text("Production", exact=True).first.click()
    dialog.get_by_label("Reason").fill("It earned it")
    dialog.get_by_role("button", name="Move to Production").click()
    expect(page.get_by_text(f"{MODEL}/2 is now in Production")).to_be_visible()
    (record,) = [r for r in search.of_model(guarded.settings, MODEL) if r.status == "done"]
    assert (record.user, record.role, record.version, record.reason) == (VERA, "releaser", 2, "It earned it")
    assert reader.get_version(guarded.settings, f"{MODEL}/Production").version == 2

    # And out again: not even Back shows what was there, nor does a copy of the cookies open it.
    copied = page.context.cookies(guarded.url)
    page.get_by_role("button", name="Sign out").click()
    page.get_by_role("button", name="End session").click()  # the provider's
    expect(page.get_by_role("button", name="Sign in")).to_be_visible()
    expect(page.get_by_text("did not work")).to_have_count(0)
    page.goto(f"{guarded.url}/{VERSION_PAGE}")
    expect(page.get_by_role("button", name="Sign in")).to_be_visible()
    assert MODEL not in page.locator("body").inner_text()
    page.context.add_cookies(copied)  # type: ignore[arg-type]
    page.goto(f"{guarded.url}/{VERSION_PAGE}")
    expect(page.get_by_role("button", name="Sign in")).to_be_visible()


def test_who_is_taken_out_of_a_group_at_the_provider_is_signed_out_and_comes_back_without_it(
    page: Page, guarded: App, issuer: str
) -> None:
    allow(guarded.secrets, issuer, 'releaser = ["group:team"]')
    page.goto(guarded.url)
    sign_in(page, "rita")
    who = page.get_by_test_id("stSidebar")
    expect(who).to_contain_text("releaser")
    page.reload()
    expect(who).to_contain_text("releaser")
    httpx.put(f"{issuer}/users/rita", json={**RITA, "groups": []}).raise_for_status()
    who.get_by_text("Registry").click()
    sign_in(page, "rita")
    expect(who).to_contain_text("viewer")
    httpx.post(f"{issuer}/users/rita/revoke-tokens").raise_for_status()  # as when the account is closed
    who.get_by_text("Conversations").click()
    expect(page.get_by_role("button", name="Sign in")).to_be_visible()


def test_before_the_sign_in_and_after_the_sign_out_nothing_is_taken_and_nothing_kept_is_given(
    page: Page, guarded: App
) -> None:
    page.goto(guarded.url)
    sign_in(page)
    expect(page.get_by_role("button", name="Sign out")).to_be_visible()
    signed = {cookie["name"]: cookie["value"] for cookie in page.context.cookies(guarded.url)}
    claims = json.dumps({"email": VERA, "email_verified": True, "is_logged_in": True, "provider": "default"})
    forged = create_signed_value(SECRET, "_streamlit_user", claims).decode()
    ask = lambda path, cookies: httpx.get(f"{guarded.url}/{path}", cookies=cookies)  # noqa: E731
    statuses = lambda cookies: [ask(f"_stcore/{path}", cookies).status_code for path in KEPT]  # noqa: E731
    assert statuses(signed)[0] == 200
    assert statuses({}) == [401] * len(KEPT)
    assert statuses({**signed, "_streamlit_user": forged}) == [401] * len(KEPT)

    # Another tab ends it, and the open one is cut off at its next step.
    assert ask("auth/logout", signed).status_code == 302
    assert statuses(signed) == [401] * len(KEPT)
    page.get_by_test_id("stSidebar").get_by_text("Registry").click()
    expect(page.get_by_role("button", name="Sign in")).to_be_visible()
    assert MODEL not in page.locator("body").inner_text()


@pytest.mark.parametrize("path", ["", "chat", "_stcore/health", "_stcore/host-config", "v1/models", "static/none.js"])
def test_everything_that_is_served_says_that_no_other_page_may_frame_it(guarded: App, path: str) -> None:
    headers = httpx.get(f"{guarded.url}/{path}").headers
    assert "frame-ancestors 'self'" in headers["content-security-policy"]
    assert (headers["x-content-type-options"], headers["referrer-policy"]) == ("nosniff", "same-origin")


def test_what_the_app_keeps_is_its_users_alone(guarded: App) -> None:
    home = guarded.settings.home
    others = [path for path in (home, *home.rglob("*")) if path.lstat().st_mode & 0o077 and not path.is_symlink()]
    assert others == []


def test_what_a_stranger_sends_draws_nothing_in_the_log(guarded: App) -> None:
    httpx.get(f"{guarded.url}/oauth2callback?error=odd%1b%5B31m-error&error_description=%0AERROR%202J")
    log = (guarded.settings.logs / "app.log").read_text()
    assert "-error" in log
    assert not [letter for letter in log if not letter.isprintable() and letter != "\n"]
    assert not [line for line in log.splitlines() if line.startswith("ERROR")]


def test_a_sign_in_that_is_refused_or_tells_no_address_says_so_and_opens_nothing(page: Page, guarded: App) -> None:
    page.goto(f"{guarded.url}/{VERSION_PAGE}")
    page.get_by_role("button", name="Sign in").click()
    page.get_by_role("button", name="Deny").click()
    expect(page.get_by_text("The sign-in did not work.")).to_be_visible()
    expect(page).to_have_url(f"{guarded.url}/{VERSION_PAGE}")

    sign_in(page, NOBODY)

    expect(page.get_by_text("tells no e-mail address")).to_be_visible()
    expect(page.get_by_role("button", name="Sign out")).to_be_visible()
    assert MODEL not in page.locator("body").inner_text()


def test_a_program_needs_a_key_and_a_name_that_is_served(guarded: App, issuer: str) -> None:
    key = generate_key()
    ask = lambda **headers: httpx.get(f"{guarded.url}/v1/models", headers=headers)  # noqa: E731
    assert ask().status_code == 401
    allow(guarded.secrets, issuer, more=f'[keys]\n{hash_key(key)} = "{VERA}"')
    answer = ask(Authorization=f"Bearer {key}")
    assert answer.status_code == 200
    assert f"{MODEL}/2" in [model["id"] for model in answer.json()["data"]]
    for path in ("", "chat", "_stcore/host-config"):
        assert httpx.get(f"{guarded.url}/{path}", headers={"Host": "rebound.example"}).status_code == 403
    assert httpx.get(f"{guarded.url}/_stcore/health", headers={"Host": "10.0.0.7"}).status_code == 200
