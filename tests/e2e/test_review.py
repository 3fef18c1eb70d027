"""A review from its making to the promotion that it allows, by people who sign in, each with a browser of their own."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import oidc_provider_mock as provider
import pytest
from playwright.sync_api import Browser, Page, expect

from phi3core import tags
from phi3core.access.roles import Person
from phi3core.errors import PolicyUnmet
from phi3core.evaluation.reviews import review, votes
from phi3core.promotion.policy import policy
from phi3core.promotion.policy.policy import Policy
from phi3core.promotion.promote import promote
from tests.e2e.conftest import PATIENCE, App, end, launch, until
from tests.e2e.conftest import _settings as settings_of
from tests.e2e.pages import settled
from tests.e2e.test_compare import listen
from tests.e2e.test_login import allow, sign_in
from tests.support.fakes import register
from tests.support.reviewing import evaluated

pytestmark = pytest.mark.browser

MODEL = "phi3-embedded"
REVIEWERS = ("ada", "bob", "eve")
QUESTION = "Is the new one fit?"
ROOT = Person("root@example.org", "admin")


@pytest.fixture(scope="module")
def issuer() -> Iterator[str]:
    """The provider's address. It knows three reviewers, who are in a group, and the owner."""
    people = {name: ["team"] for name in REVIEWERS} | {"olga": ["owners"]}
    known = [
        provider.User(sub=name, claims={"email": f"{name}@example.org", "email_verified": True, "groups": groups})
        for name, groups in people.items()
    ]
    with provider.run_server_in_thread(user_claims=known) as server:
        yield f"http://localhost:{server.server_port}"


@pytest.fixture(scope="module")
def guarded(issuer: str, cache: Path, empty_store: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[App]:
    """An app with a login, two versions without weights, and what they answered to three prompts."""
    folder = tmp_path_factory.mktemp("guarded")
    home = folder / "home"
    home.mkdir()
    shutil.copy(empty_store, home / "mlflow.db")
    (folder / "model").mkdir()
    (folder / "model" / "MLmodel").write_text("flavors: {python_function: {}}\nmetadata: {phi3: {wrapper: onnx}}\n")
    allow(folder / "secrets.toml", issuer, 'reviewer = ["group:team", "group:owners"]\nadmin = ["root@example.org"]')
    settings = settings_of(home, cache)
    for _ in range(2):
        register(settings, MODEL, (folder / "model").as_uri(), {tags.WRAPPER: "onnx", tags.SOURCE: "embedded"})
    evaluated(settings, (f"{MODEL}/1", f"{MODEL}/2"))
    promote(settings, f"{MODEL}/1", "Production", person=ROOT)
    policy.write(settings, MODEL, "Production", Policy(review_win_rate=0.25), ROOT)
    app = launch(home, cache)
    yield app
    end(app)


@contextmanager
def browser_of(chromium: Browser, app: App, who: str, path: str) -> Iterator[tuple[Page, list[bytes]]]:
    """A page that a person has opened and signed in to, and all that it is sent."""
    context = chromium.new_context(viewport={"width": 1280, "height": 1000})
    context.set_default_timeout(PATIENCE * 1000)
    page = context.new_page()
    messages = listen(page)
    page.goto(f"{app.url}/{path}")
    sign_in(page, who)
    yield page, messages
    context.close()


def test_three_people_review_a_set_the_owner_closes_it_and_the_policy_lets_the_winner_in(
    chromium: Browser, guarded: App
) -> None:
    with browser_of(chromium, guarded, "olga", "review") as (page, _):
        page.get_by_text("New review").click()
        page.get_by_label("Question").fill(QUESTION)
        page.get_by_label("Votes for each item").fill("3")
        page.get_by_label("Votes for each item").press("Enter")
        settled(page)
        page.get_by_role("button", name="Make it").click()
        expect(page.get_by_text("3 items, 3 votes each").first).to_be_visible()
    (found,) = review.search_reviews(guarded.settings)
    assert (found.by, found.plan.reviews) == ("olga@example.org", 3)

    for who in REVIEWERS:
        with browser_of(chromium, guarded, who, f"review?r={found.id}") as (page, messages):
            for done in range(found.items):
                expect(page.get_by_text(f"{done} done, {found.items - done} wait for you")).to_be_visible()
                settled(page)  # the count may be drawn before the next item is
                second = page.locator('[class*="st-key-review_answer_"]').nth(1)
                page.keyboard.press("2" if "Version 2" in second.inner_text() else "1")
            expect(page.get_by_text("Nothing waits for you any more")).to_be_visible()
            sent = b"\n".join([*messages, page.content().encode(), page.url.encode()])
            assert QUESTION.encode() in sent, "this test could not fail"
            assert MODEL.encode() not in sent
    until(lambda: len(votes.read_judgements(guarded.settings, found, fresh=True)) == 9)
    with pytest.raises(PolicyUnmet, match="no closed review"):
        promote(guarded.settings, f"{MODEL}/2", "Production", person=ROOT)

    with browser_of(chromium, guarded, "olga", f"review?r={found.id}&view=results") as (page, _):
        expect(page.get_by_text("9 of 9 votes")).to_be_visible()
        page.get_by_role("button", name="Close the review").click()
        page.get_by_role("button", name="Close it for good").click()
        expect(page.get_by_text("this result is sealed")).to_be_visible()
    assert review.read_review(guarded.settings, found.id).closed
    promoted = promote(guarded.settings, f"{MODEL}/2", "Production", person=ROOT)
    assert promoted.version.stage == "Production"
