"""Code for the conversation that is open: run as it stands, it asks the model what the page asked."""

from __future__ import annotations

import ast
import contextlib
import io
import json
import shlex
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from streamlit.testing.v1 import AppTest

from pages.components.chat import code_snippets
from pages.components.shared import links
from phi3core.chat.request_body import request_body
from phi3core.settings import Settings
from phi3core.traces.turn import Turn
from tests.app.chatting import ask, live
from tests.app.conftest import Open, Register
from tests.app.servers import FakePool
from tests.support import fakes

ODD = 'it\'s "my" módel/3'
URL = "http://localhost:8501/v1"
ODD_WORDS = 'It\'s "5 $HOME" `x`\n\\n {a} \u202e?'
# The npm package stands outside of this project: this much of it sends a request and reads the stream.
OPENAI_FOR_NODE = """\
export default class OpenAI {
  constructor({ baseURL, apiKey }) {
    const create = (path) => async (body) => {
      const headers = { "Content-Type": "application/json", Authorization: `Bearer ${apiKey}` };
      const answer = await fetch(baseURL + path, { method: "POST", headers, body: JSON.stringify(body) });
      if (!answer.ok) throw new Error(await answer.text());
      const data = (await answer.text()).split("\\n").filter((line) => line.startsWith("data: {"));
      return data.map((line) => JSON.parse(line.slice(6)));
    };
    this.chat = { completions: { create: create("/chat/completions") } };
    this.completions = { create: create("/completions") };
  }
}
"""


def run_python(code: str, folder: Path) -> str:
    said = io.StringIO()
    with contextlib.redirect_stdout(said):
        exec(compile(code, "snippet.py", "exec"), {})
    return said.getvalue()


def run_curl(code: str, folder: Path) -> str:
    """What a shell's curl prints, the stream's pieces put together."""
    done = subprocess.run(["bash", "-c", code], capture_output=True, text=True, check=True, timeout=60)
    pieces = [json.loads(line[6:]) for line in done.stdout.splitlines() if line.startswith("data: {")]
    assert pieces, done.stdout
    choices = [piece["choices"][0] for piece in pieces if piece["choices"]]
    return "".join(choice["delta"].get("content") or "" if "delta" in choice else choice["text"] for choice in choices)


def run_javascript(code: str, folder: Path) -> str:
    package = folder / "node_modules" / "openai"
    package.mkdir(parents=True, exist_ok=True)
    (package / "package.json").write_text('{"type": "module", "main": "index.js"}')
    (package / "index.js").write_text(OPENAI_FOR_NODE)
    (folder / "snippet.mjs").write_text(code)
    done = subprocess.run(["node", "snippet.mjs"], cwd=folder, capture_output=True, text=True, check=True, timeout=60)
    return done.stdout


RUN = {"python": run_python, "bash": run_curl} | ({"javascript": run_javascript} if shutil.which("node") else {})


@pytest.fixture
def shown(
    open_page: Open, register: Register, servers: FakePool, engine: fakes.FakeEngine, monkeypatch: pytest.MonkeyPatch
) -> AppTest:
    """The page with a conversation of two turns, and its code open, addressed to the model's server."""
    register()
    at = open_page("chat")
    at.text_area(key="chat_system").set_value("Be 'brief'.")
    at.number_input(key="chat_seed_phi3/1").set_value(7)
    at.number_input(key="chat_top_k_phi3/1").set_value(3)
    at.slider(key="chat_min_p_phi3/1").set_value(0.05)
    at.multiselect(key="chat_stop_phi3/1").set_value(["\\n\\n"])
    ask(ask(at, "One"), ODD_WORDS)
    server = servers.made["phi3/1"]
    monkeypatch.setattr(links, "app_address", lambda: server.url)
    monkeypatch.setattr(code_snippets, "key_required", lambda _: True)
    monkeypatch.setenv("PHI3_API_KEY", server.key)
    at.session_state["chat_code"] = True
    return at.run()


def test_the_code_asks_the_last_question_again_with_all_that_the_page_sent(
    shown: AppTest, engine: fakes.FakeEngine, tmp_path: Path
) -> None:
    asked, prompt = replace(engine.asked[-1], prompt_cache_key=""), engine.prompts[-1]
    assert prompt == f"<system>Be 'brief'.<user>One<assistant>The capital is Madrid.<user>{ODD_WORDS}"
    assert (asked.seed, asked.top_k, asked.min_p, asked.stop) == (7, 3, 0.05, ("\n\n",))
    for language, run in RUN.items():
        (code,) = [code.value for code in shown.code if code.language == language]
        assert run(code, tmp_path).strip() == "The capital is Madrid."
        assert (engine.asked[-1], engine.prompts[-1]) == (asked, prompt), language
    assert len(engine.prompts) == 2 + len(RUN)


def test_a_raw_prompt_is_code_for_completions_with_the_parameters_of_now(
    shown: AppTest, engine: fakes.FakeEngine, tmp_path: Path
) -> None:
    live(shown).path[-1].raw = True
    shown.number_input(key="chat_top_k_phi3/1").set_value(9).run()
    for language, run in RUN.items():
        (code,) = [code.value for code in shown.code if code.language == language]
        assert run(code, tmp_path).strip() == "The capital is Madrid."
        assert (engine.prompts[-1], engine.asked[-1].top_k) == (ODD_WORDS, 9), language


def test_an_empty_conversation_is_code_with_an_example(open_page: Open, register: Register) -> None:
    register()
    at = open_page("chat")
    at.text_area(key="chat_system").set_value("Be brief.")
    at.session_state["chat_code"] = True
    at.run()
    assert [code.language for code in at.code] == ["python", "bash", "javascript"]
    assert all("Be brief." in code.value and code_snippets.QUESTION in code.value for code in at.code)


def test_closed_the_code_is_not_drawn(open_page: Open, register: Register) -> None:
    register()
    assert not open_page("chat").code


def test_a_schema_is_python_with_pythons_own_words() -> None:
    schema = {"type": "object", "properties": {"a": {"const": None}}, "additionalProperties": False}
    body = request_body(Turn("Hi", "phi3/1", schema=schema), "phi3/1", [])
    assert 'additionalProperties": False' in code_snippets.in_python(body, URL)
    call = next(node for node in ast.walk(ast.parse(code_snippets.in_python(body, URL))) if _creates(node))
    (given,) = [keyword.value for keyword in call.keywords if keyword.arg == "response_format"]
    assert ast.literal_eval(given) == body["response_format"]


def _creates(node: ast.AST) -> bool:
    return isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "create"


def test_nothing_that_turns_letters_around_stands_in_the_code() -> None:
    body = {"model": "phi3/1", "messages": [{"role": "user", "content": "a\u202eb"}]}
    for write in (code_snippets.in_python, code_snippets.in_curl, code_snippets.in_javascript):
        assert "\u202e" not in write(body, URL)
        assert r"a\u202eb" in write(body, URL)


# ---------------------------------------------------------------- one question to a version


@pytest.mark.parametrize("key", [False, True])
def test_the_python_snippet_is_python_with_that_version_and_address(key: bool) -> None:
    tree = ast.parse(code_snippets.in_python(code_snippets.example(ODD), URL, key))
    texts = [node.value for node in ast.walk(tree) if isinstance(node, ast.Constant)]
    assert ODD in texts
    assert URL in texts
    assert ("PHI3_API_KEY" in texts) == key


@pytest.mark.parametrize("key", [False, True])
def test_the_curl_snippet_survives_a_shell(key: bool) -> None:
    words = shlex.split(code_snippets.in_curl(code_snippets.example(ODD), URL, key).replace("\\\n", " "))
    assert f"{URL}/chat/completions" in words
    body: dict[str, Any] = json.loads(words[words.index("-d") + 1])
    assert body["model"] == ODD
    assert body["stream"] is True
    assert ("Authorization: Bearer $PHI3_API_KEY" in words) == key


def test_the_javascript_snippet_names_the_version_and_streams() -> None:
    text = code_snippets.in_javascript(code_snippets.example(ODD), URL)
    assert f"model: {json.dumps(ODD, ensure_ascii=False)}" in text
    assert f'baseURL: "{URL}"' in text
    assert "stream: true" in text


def test_three_snippets_are_shown_in_tabs(settings: Settings) -> None:
    def page() -> None:
        from pages.components.chat import code_snippets

        code_snippets.show(code_snippets.example("phi3/3"), "Ask it.", "http://localhost:8501/v1")

    at = AppTest.from_function(page).run()
    assert [tab.label for tab in at.tabs] == ["Python", "curl", "JavaScript"]
    assert [code.language for code in at.code] == ["python", "bash", "javascript"]
    assert all("phi3/3" in code.value for code in at.code)
