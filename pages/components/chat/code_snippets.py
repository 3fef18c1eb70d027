"""How to ask the same from a program: code to copy, for one question or for the conversation that is open."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import streamlit as st

from pages.components.shared import links, ui
from phi3core.access.api_keys import key_required
from phi3core.chat.conversation import Conversation
from phi3core.chat.request_body import client_arguments, request_body
from phi3core.traces.turn import Turn

from .target import Selection

QUESTION = "What is the capital of Spain?"
_KEY = "PHI3_API_KEY"  # of the client's environment
_INVISIBLE = re.compile(r"[\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")  # some would show code in another order
_LONG = 600  # pixels


def show(body: dict[str, Any], about: str, base_url: str = "") -> None:
    """Snippets that send a body to this app's own port and print the answer as it streams.

    Args:
        body: as `request_body` makes it.
        about: a sentence that says what is asked.
        base_url: ends in ``/v1``; empty for the address that the reader's browser has of this app.
    """
    base_url, key = base_url or f"{links.app_address()}/v1", key_required(ui.config())
    st.caption(about)
    python, curl, javascript = st.tabs(["Python", "curl", "JavaScript"])
    for tab, write, language in ((python, in_python, "python"), (curl, in_curl, "bash")):
        with tab:
            _code(write(body, base_url, key), language)
    with javascript:
        _code(in_javascript(body, base_url, key), "javascript")
    if key:
        st.caption(f"Set {_KEY} to your key. `python -m phi3core key EMAIL` makes one, where this app runs.")


def show_conversation(
    conversation: Conversation, chosen: Selection, system: str, options: dict[str, Any], only_question: bool
) -> None:
    """Snippets that ask the conversation's last question again, as the page stands; before that, an example.

    Args:
        only_question: the model takes one text, so that nothing said before is sent.
    """
    # A conversation that stays with its version, when the alias that it was asked by has moved, says so here too.
    ref = chosen.ref if chosen.moved else chosen.asked
    if last := next(reversed(conversation.path), None):
        turn = replace(last, system=system, options=options, seed=None)
        about = "Asks the last question again, after all that is sent before it, with the parameters as they are now."
    else:
        turn = Turn(QUESTION, ref, system, options)
        about = "An example with the system prompt and the parameters as they are now."
    sent = conversation.sent_for(replace(turn, sent=None))
    show(request_body(turn, ref, sent[-1:] if only_question else sent), f"In OpenAI's protocol. {about}")


def example(ref: str) -> dict[str, Any]:
    """The body of a first question to a version."""
    return {"model": ref, "messages": [{"role": "user", "content": QUESTION}], "stream": True}


def in_python(body: dict[str, Any], base_url: str, key: bool = False) -> str:
    """For the openai package. key: whether the app asks for one."""
    api_key = f'os.environ["{_KEY}"]' if key else '"none"'
    create, text = ("completions", "text") if "prompt" in body else ("chat.completions", "delta.content")
    arguments = "".join(f"    {name}={_python(value, 4)},\n" for name, value in client_arguments(body).items())
    return f"""\
# pip install openai
{"import os" + chr(10) * 2 if key else ""}from openai import OpenAI

client = OpenAI(base_url={_json(base_url)}, api_key={api_key})
stream = client.{create}.create(
{arguments})
for chunk in stream:
    if chunk.choices:
        print(chunk.choices[0].{text} or "", end="", flush=True)
print()
"""


def in_curl(body: dict[str, Any], base_url: str, key: bool = False) -> str:
    """For a shell. key: whether the app asks for one."""
    address = base_url + ("/completions" if "prompt" in body else "/chat/completions")
    authorization = f'  -H "Authorization: Bearer ${_KEY}" \\\n' if key else ""
    return f"""\
curl --no-buffer {shlex.quote(address)} \\
  -H 'Content-Type: application/json' \\
{authorization}  -d {shlex.quote(_json(body))}
"""


def in_javascript(body: dict[str, Any], base_url: str, key: bool = False) -> str:
    """For Node and the openai package. key: whether the app asks for one."""
    api_key = f"process.env.{_KEY}" if key else '"none"'
    create, text = ("completions", "text") if "prompt" in body else ("chat.completions", "delta?.content")
    arguments = "".join(f"  {name}: {_json(value, 2)},\n" for name, value in body.items())
    return f"""\
// npm install openai
import OpenAI from "openai";

const client = new OpenAI({{ baseURL: {_json(base_url)}, apiKey: {api_key} }});
const stream = await client.{create}.create({{
{arguments}}});
for await (const chunk of stream) {{
  process.stdout.write(chunk.choices[0]?.{text} ?? "");
}}
console.log();
"""


def _code(text: str, language: str) -> None:
    st.code(text, language=language, wrap_lines=True, height=_LONG if text.count("\n") > 30 else "content")


def _json(value: Any, margin: int = 0) -> str:
    """JSON, which JavaScript reads too: what holds no other list or object stands on one line."""
    return _written(value, lambda plain: json.dumps(plain, ensure_ascii=False), margin, 2)


def _python(value: Any, margin: int) -> str:
    """The same as Python writes it."""
    return _written(value, lambda plain: _json(plain) if isinstance(plain, str) else repr(plain), margin, 4)


def _written(value: Any, write: Callable[[Any], str], margin: int, step: int) -> str:
    if isinstance(value, dict):
        parts, ends = [f"{_json(name)}: {_written(v, write, margin + step, step)}" for name, v in value.items()], "{}"
    elif isinstance(value, list):
        parts, ends = [_written(item, write, margin + step, step) for item in value], "[]"
    else:
        return _INVISIBLE.sub(lambda found: f"\\u{ord(found[0]):04x}", write(value))
    nested = any(isinstance(part, dict | list) for part in (value.values() if isinstance(value, dict) else value))
    if not nested:
        return ends[0] + ", ".join(parts) + ends[1]
    inner, last = "\n" + " " * (margin + step), "\n" + " " * margin
    return ends[0] + inner + f",{inner}".join(parts) + last + ends[1]
