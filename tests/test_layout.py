"""How the app is put together: its page table, and what its server must never load."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from phi3core.settings import Settings

ROOT = Path(__file__).resolve().parent.parent
PAGES = {
    "home": "pages/home_page.py",
    "conversations": "pages/conversations_page.py",
    "chat": "pages/chat_page.py",
    "compare": "pages/compare_page.py",
    "prompt-sets": "pages/prompt_sets_page.py",
    "evaluate": "pages/evaluate_page.py",
    "review": "pages/review_page.py",
    "registry": "pages/registry_page.py",
    "promotions": "pages/promotions_page.py",
    "build": "pages/build_page.py",
}
HEAVY = ("torch", "transformers", "onnxruntime_genai", "onnxruntime", "onnx")


@pytest.fixture
def table(settings: Settings) -> dict[str, str]:
    """The page table as Streamlit sees it: url → file."""
    at = AppTest.from_file(ROOT / "app.py", default_timeout=30).run()
    assert not at.exception
    return {
        str(page["url_pathname"]): str(Path(str(page["script_path"])).relative_to(ROOT))
        for page in at._registered_pages.values()
    }


def test_the_page_table_names_every_page_with_home_first(table: dict[str, str]) -> None:
    # The default page's address is the root.
    assert dict(table, home=table.get("home", table.get("", ""))) | {"": ""} == {**PAGES, "": ""}


def test_no_page_file_is_named_like_an_address(table: dict[str, str]) -> None:
    stems = {path.stem for path in (ROOT / "pages").glob("*.py")}
    assert stems.isdisjoint(set(table) | set(PAGES))


def test_every_file_among_the_pages_ends_in_page() -> None:
    names = sorted(path.name for path in (ROOT / "pages").glob("*.py"))
    assert names == sorted(Path(path).name for path in PAGES.values())
    assert all(name.endswith("_page.py") for name in names)


_SCRIPT = """
import json, sys
sys.path.insert(0, sys.argv[1])
import server
from streamlit.testing.v1 import AppTest
from tests.app.servers import FakePool
from pages.components.shared import ui
from phi3core.chat import live_conversations
from tests.support.fakes import until

pool = FakePool()
ui.servers = lambda: pool
at = AppTest.from_file(sys.argv[1] + "/app.py", default_timeout=60).run()
assert at.title, (at.exception, at.error)
seen = ["home"]
for page in ("conversations", "registry", "promotions", "build", "chat"):
    at.switch_page(f"pages/{page}_page.py").run()
    assert not at.exception, at.exception
    seen.append(page)
at.chat_input(key="chat_input").set_value("Hello").run()
until(lambda: not any(held.running for held in live_conversations._live.values()))
at.run()
assert not at.exception, at.exception
print(json.dumps({"seen": seen, "answer": at.chat_message[1].markdown[0].value, "loaded": sorted(sys.modules)}))
"""


def test_the_app_server_never_loads_a_machine_learning_library(settings: Settings, tmp_path: Path) -> None:
    """Every page is drawn and a question answered, in a fresh interpreter."""
    from phi3core import tags
    from tests.support.fakes import register

    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "MLmodel").write_text("flavors: {python_function: {}}\nmetadata: {phi3: {wrapper: onnx}}\n")
    register(settings, "phi3", (tmp_path / "model").as_uri(), {tags.WRAPPER: "onnx"}, {"tokens_per_second": 1.0})
    run = subprocess.run(
        [sys.executable, "-c", _SCRIPT, str(ROOT)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert run.returncode == 0, run.stderr[-3000:]
    told = json.loads(run.stdout.splitlines()[-1])
    assert told["answer"] == "Madrid is it."
    assert [name for name in HEAVY if name in told["loaded"]] == []


def refused(*options: str) -> str:
    """What the app server says when it will not start with these options."""
    command = [sys.executable, "-m", "streamlit", "run", str(ROOT / "server.py"), "--server.port=0", *options]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert run.returncode != 0
    assert "Traceback" not in run.stdout + run.stderr
    return run.stdout + run.stderr


@pytest.mark.parametrize("address", ["0.0.0.0", ""])
def test_without_a_login_the_app_server_does_not_listen_beyond_loopback(
    settings: Settings, address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PHI3_API_KEY", "sesame")
    said = refused(f"--server.address={address}")
    assert "would let everybody in, for nobody has to sign in" in said
    assert str(settings.secrets) in said
    assert "A key is not enough" in said


def test_an_app_server_whose_login_is_written_wrong_does_not_start(settings: Settings) -> None:
    settings.secrets.write_text('[auth]\nclient_id = "phi3"\n')
    assert "“redirect_uri” is missing" in refused()
