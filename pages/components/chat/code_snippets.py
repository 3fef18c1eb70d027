"""How to ask the very same version from a program: code to copy."""

from __future__ import annotations

import json
import shlex

import streamlit as st

from pages.components.shared import links, ui
from phi3core.access.api_keys import key_required

QUESTION = "What is the capital of Spain?"
_KEY = "PHI3_API_KEY"  # of the client's environment


def show(ref: str, base_url: str = "") -> None:
    """Snippets that stream an answer of the version from this app's own port.

    base_url: ends in ``/v1``; empty for the address that the reader's browser has of this app.
    """
    base_url, key = base_url or f"{links.app_address()}/v1", key_required(ui.config())
    st.caption("The app speaks OpenAI's protocol on its own port. The model is the version's reference.")
    python, curl, javascript = st.tabs(["Python", "curl", "JavaScript"])
    with python:
        st.code(in_python(ref, base_url, key), language="python", wrap_lines=True)
    with curl:
        st.code(in_curl(ref, base_url, key), language="bash", wrap_lines=True)
    with javascript:
        st.code(in_javascript(ref, base_url, key), language="javascript", wrap_lines=True)
    if key:
        st.caption(f"Set {_KEY} to your key. `python -m phi3core key EMAIL` makes one, where this app runs.")


def in_python(ref: str, base_url: str, key: bool = False) -> str:
    """For the openai package. key: whether the app asks for one."""
    api_key = f'os.environ["{_KEY}"]' if key else '"none"'
    return f"""\
# pip install openai
{"import os" + chr(10) * 2 if key else ""}from openai import OpenAI

client = OpenAI(base_url={_quoted(base_url)}, api_key={api_key})
stream = client.chat.completions.create(
    model={_quoted(ref)},
    messages=[{{"role": "user", "content": "{QUESTION}"}}],
    stream=True,
)
for chunk in stream:
    if chunk.choices:
        print(chunk.choices[0].delta.content or "", end="", flush=True)
print()
"""


def in_curl(ref: str, base_url: str, key: bool = False) -> str:
    """For a shell. key: whether the app asks for one."""
    body = {"model": ref, "messages": [{"role": "user", "content": QUESTION}], "stream": True}
    authorization = f'  -H "Authorization: Bearer ${_KEY}" \\\n' if key else ""
    return f"""\
curl --no-buffer {shlex.quote(base_url + "/chat/completions")} \\
  -H 'Content-Type: application/json' \\
{authorization}  -d {shlex.quote(json.dumps(body, ensure_ascii=False))}
"""


def in_javascript(ref: str, base_url: str, key: bool = False) -> str:
    """For Node and the openai package. key: whether the app asks for one."""
    api_key = f"process.env.{_KEY}" if key else '"none"'
    return f"""\
// npm install openai
import OpenAI from "openai";

const client = new OpenAI({{ baseURL: {_quoted(base_url)}, apiKey: {api_key} }});
const stream = await client.chat.completions.create({{
  model: {_quoted(ref)},
  messages: [{{ role: "user", content: "{QUESTION}" }}],
  stream: true,
}});
for await (const chunk of stream) {{
  process.stdout.write(chunk.choices[0]?.delta?.content ?? "");
}}
console.log();
"""


def _quoted(text: str) -> str:
    """A text as Python and JavaScript write it."""
    return json.dumps(text, ensure_ascii=False)
