"""A promotion as a team does it: asked for, approved, carried out, taken back, and all of it on record."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Locator, Page, expect

from phi3core import tags
from phi3core.access import roles
from phi3core.promotion.policy import policy, requests
from phi3core.promotion.policy.policy import Policy
from phi3core.promotion.promote import promote
from phi3core.promotion.record import search
from phi3core.registry import reader
from tests.e2e.conftest import App, end, launch
from tests.e2e.conftest import _settings as settings_of
from tests.e2e.pages import open_page, settled
from tests.support.fakes import register

pytestmark = pytest.mark.browser

MODEL = "phi3-embedded"
TAGS = {tags.WRAPPER: "onnx", tags.SOURCE: "embedded"}  # as of the demo, which is not built then
WHY = "It loops on long prompts."


@pytest.fixture(scope="module")
def team(cache: Path, empty_store: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[App]:
    """An app with roles. Its two versions have no weights: nobody talks to them here. The first is in Production."""
    folder = tmp_path_factory.mktemp("team")
    home = folder / "home"
    home.mkdir()
    shutil.copy(empty_store, home / "mlflow.db")
    settings = settings_of(home, cache)
    for number in (1, 2):
        (folder / f"model-{number}").mkdir()
        model = f"flavors: {{python_function: {{}}}}\nmetadata: {{phi3: {{wrapper: onnx}}}}\n# {number}\n"
        (folder / f"model-{number}" / "MLmodel").write_text(model)
        register(settings, MODEL, (folder / f"model-{number}").as_uri(), TAGS)
    app = launch(home, cache)
    promote(settings, f"{MODEL}/1", "Production", "The first")
    policy.write(settings, MODEL, "Production", Policy(approvals=1), roles.local_person(settings))
    yield app
    end(app)


def become(app: App, role: str) -> None:
    """Give the user of this machine another role; pages read it anew."""
    app.secrets.write_text(f'[roles]\n{role} = ["{roles.local_person(app.settings).name}"]\n')


def dialog(page: Page) -> Locator:
    return page.get_by_role("dialog")


def write(page: Page, label: str, text: str) -> None:
    box = dialog(page).get_by_label(label, exact=True)
    box.fill(text)
    box.blur()
    settled(page)


def close(page: Page) -> None:
    dialog(page).get_by_role("button", name="Close").click()
    expect(dialog(page)).to_have_count(0)
    settled(page)


def confirm(page: Page, name: str, said: str) -> None:
    """Press the dialog's button and wait until the page tells that it is done."""
    dialog(page).get_by_role("button", name=name, exact=True).click()
    expect(page.get_by_test_id("stAlert").filter(has_text=said)).to_be_visible()
    expect(dialog(page)).to_have_count(0)
    settled(page)


def test_asked_by_a_reviewer_approved_promoted_rolled_back_and_all_on_record(page: Page, team: App) -> None:
    settings = team.settings

    become(team, "reviewer")
    open_page(page, team, f"registry?model={MODEL}&version=2")
    expect(page.get_by_role("button", name="Move to a stage")).to_have_count(0)
    page.get_by_role("button", name="Ask for a promotion").click()
    expect(dialog(page)).to_contain_text("Nothing moves now")
    write(page, "Reason", "It wins the blind votes.")
    close(page)  # closed by accident: what was typed is there when it is opened again
    page.get_by_role("button", name="Ask for a promotion").click()
    expect(dialog(page).get_by_label("Reason", exact=True)).to_have_value("It wins the blind votes.")
    confirm(page, "Ask for Production", "is asked for")
    (asked,) = requests.waiting(settings)
    assert (asked.ref, asked.reason) == (f"{MODEL}/2", "It wins the blind votes.")

    become(team, "releaser")
    open_page(page, team, "promotions")
    expect(page.get_by_text("Requests (1)")).to_be_visible()
    page.get_by_role("button", name="Move to Production").click()
    expect(dialog(page)).to_contain_text("0 of 1 met")
    expect(dialog(page).get_by_role("button", name="Move to Production")).to_be_disabled()
    close(page)
    page.get_by_role("button", name="Approve").click()
    write(page, "Comment", "Twenty answers read")
    confirm(page, f"Approve {MODEL}/2 for Production", "is approved for Production")
    assert requests.get(settings, asked.id).status == "approved"

    page.get_by_role("button", name="Move to Production").click()
    expect(dialog(page)).to_contain_text("1 of 1 met")
    expect(dialog(page)).to_contain_text(re.compile(rf"{MODEL}/1 leaves Production: it becomes.*Archived"))
    write(page, "Reason", "As reviewed")
    confirm(page, "Move to Production", f"{MODEL}/2 is now in Production")
    expect(page.get_by_text("No request waits")).to_be_visible()
    assert reader.get_version(settings, f"{MODEL}/Production").version == 2

    page.get_by_role("radio", name="Timeline").or_(page.get_by_role("button", name="Timeline")).first.click()
    bars = page.locator(".js-plotly-plot .bars path")
    expect(bars).to_have_count(2)  # Plotly is fetched first
    page.get_by_role("button", name="Roll back").click()
    expect(dialog(page)).to_contain_text(re.compile(rf"{MODEL}/2 leaves Production: it becomes.*Archived"))
    write(page, "Reason", WHY)
    confirm(page, f"Roll back to {MODEL}/1", f"{MODEL}/1 is in Production again")
    expect(bars).to_have_count(3)
    stages = {version.version: version.stage for version in reader.list_versions(settings, MODEL)}
    assert stages == {1: "Production", 2: "Archived"}

    newest = search.of_model(settings, MODEL)[0]
    open_page(page, team, f"promotions?view=record&model={MODEL}&record={newest.id}")
    page.reload()
    shown = page.get_by_test_id("stMain")
    for fact in ("roll back", WHY, f"{MODEL}/2, became Archived", "intact", newest.digest):
        expect(shown).to_contain_text(fact)
    with page.expect_download() as download:
        page.get_by_role("button", name="Export CSV").click()
    lines = Path(download.value.path()).read_text().splitlines()
    assert len(lines) == 1 + len(search.of_model(settings, MODEL))
    assert WHY in lines[1]
