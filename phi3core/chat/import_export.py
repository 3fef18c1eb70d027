"""Conversations as files: Markdown to read, JSON to keep, JSONL of OpenAI messages to train with; all come back."""

from __future__ import annotations

import json
import uuid
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from phi3core.access import roles
from phi3core.access.roles import Person
from phi3core.clean_text import clean
from phi3core.errors import BadInput
from phi3core.serving.pool import Pool
from phi3core.settings import Settings
from phi3core.timestamps import now_ms
from phi3core.traces.turn import Origin, Turn

from .conversation import Conversation
from .import_checks import IMPORTED, check_amount, check_origin, check_turn, read_json
from .live_conversations import add_conversation
from .markdown_export import from_markdown

FORMAT, VERSION = "phi3-playground/conversation", 1
LARGEST = 50_000_000  # bytes of a file that is read


# ---------------------------------------------------------------- export


def to_json(conversation: Conversation) -> str:
    """The whole tree, without loss; `import_file` is its inverse."""
    origin = conversation.origin
    document = {
        "format": FORMAT,
        "version": VERSION,
        "id": conversation.id,
        "title": conversation.title,
        "origin": {"kind": origin.kind, "conversation": origin.conversation, "turn": origin.turn} if origin else None,
        "selected": next((turn.id for turn in reversed(conversation.path)), ""),
        "turns": [turn.plain() for turn in conversation.tree.values() if turn.state != "running"],
    }
    return json.dumps(clean(document), indent=1, ensure_ascii=False) + "\n"


def to_jsonl(conversations: Sequence[Conversation]) -> str:
    """One line ``{"messages": [...]}`` for each conversation's active path, as in OpenAI's fine-tuning files.

    The system prompt is the last turn's. What holds no answer is left out.
    """
    lines = []
    for conversation in conversations:
        last = next(reversed(conversation.path), None)
        if messages := conversation.messages():
            system = [{"role": "system", "content": last.system}] if last and last.system.strip() else []
            lines.append(json.dumps({"messages": clean([*system, *messages])}, ensure_ascii=False) + "\n")
    return "".join(lines)


# ---------------------------------------------------------------- import


def import_file(
    settings: Settings, pool: Pool, name: str, data: bytes, person: Person | None = None
) -> list[Conversation]:
    """Make and save new conversations from a file that was exported here, or from JSON or JSONL of OpenAI messages.

    Whatever the file says, its turns are marked as imported, and are evidence of nothing (traces/evidence.py). Who
    asked and who rated is taken over for an admin only: for another person the turns become their own, and nothing in
    them is rated.

    Args:
        name: the file's, for its ending and for messages about it.

    Raises:
        BadInput: it names what is wrong and where; nothing is kept then.
    """
    person = person or roles.local_person(settings)
    parsed = _parsed(name, _text(name, data))
    check_amount(name, [turns for _, _, turns, _ in parsed])
    for at, turn in enumerate((turn for _, _, turns, _ in parsed for turn in turns), start=1):
        check_origin(f"{name}, turn {at}", turn)
    made = []
    for title, origin, turns, selected in parsed:
        conversation = Conversation(settings, pool, user=person.name)
        conversation.adopt([_as_imported(turn, person) for turn in turns], origin, title)
        if selected in conversation.tree:
            conversation.select(conversation.tree[selected])
        made.append(add_conversation(conversation))
    return made


def _as_imported(turn: Turn, person: Person) -> Turn:
    marked = replace(turn, imported=True)
    return marked if person.may("admin") else replace(marked, user=person.name, thumb=None, comment="", rated_by="")


_Parsed = tuple[str, Origin, list[Turn], str]


def _parsed(name: str, text: str) -> list[_Parsed]:
    """Read a file by its ending, or by what is in it where the ending is another."""
    if name.lower().endswith((".md", ".markdown")):
        title, turns = from_markdown(name, text)
        return [(title[:500], Origin("import"), turns, "")]
    document = None if name.lower().endswith(".jsonl") else _document(name, text)
    if document is None:
        return _lines(name, text)
    return [_messages(name, 1, document) if "messages" in document else _whole(name, document)]


def _text(name: str, data: bytes) -> str:
    if len(data) > LARGEST:
        raise BadInput(f"{name} has {len(data) / 1e6:,.0f} MB: split it, {LARGEST / 1e6:.0f} MB is the most.")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise BadInput(f"{name}, line {line}: this is no UTF-8 text. Save the file as UTF-8.") from error


def _document(name: str, text: str) -> dict[str, Any] | None:
    """The file's one JSON object; None where it holds a line for each conversation."""
    try:
        document = read_json(text)
    except json.JSONDecodeError as error:
        if error.msg == "Extra data":
            return None
        raise BadInput(f"{name}, line {error.lineno}: this is no JSON ({error.msg}).") from error
    except ValueError as error:
        raise BadInput(f"{name} is no JSON: {error}.") from error
    if not isinstance(document, dict):
        raise BadInput(f"{name}, line 1: this is no conversation, but a JSON {type(document).__name__}.")
    return document


def _lines(name: str, text: str) -> list[_Parsed]:
    found = []
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        try:
            document = read_json(line)
        except ValueError as error:
            raise BadInput(f"{name}, line {number}: this is no JSON ({getattr(error, 'msg', error)}).") from error
        if not isinstance(document, dict):
            raise BadInput(f"{name}, line {number}: this is no object with “messages”.")
        found.append(_messages(name, number, document))
    if not found:
        raise BadInput(f"{name}, line 1: the file is empty.")
    return found


def _messages(name: str, line: int, document: dict[str, Any]) -> _Parsed:
    """A conversation from OpenAI's messages."""
    where = f"{name}, line {line}"
    messages = document.get("messages")
    if not isinstance(messages, list) or not messages:
        raise BadInput(f"{where}: there is no list of “messages”.")
    system, turns = "", list[Turn]()
    for at, message in enumerate(messages, start=1):
        role, content = _message(f"{where}, message {at}", message)
        if role in ("system", "developer"):
            system = content
        elif role == "user":
            now = now_ms() + at
            parent = turns[-1].id if turns else ""
            turns.append(Turn(content, IMPORTED, system, parent=parent, when=now, state="stopped"))
        elif turns and not turns[-1].answer:
            turns[-1].answer, turns[-1].state, turns[-1].finish_reason = content, "done", "stop"
        else:
            raise BadInput(f"{where}, message {at}: this is an answer without a question before it.")
    if not turns:
        raise BadInput(f"{where}: there is no message of the user.")
    return "", Origin("import"), turns, ""


def _message(where: str, message: Any) -> tuple[str, str]:
    if not isinstance(message, dict):
        raise BadInput(f"{where}: this is no object with “role” and “content”.")
    role, content = message.get("role"), message.get("content")
    if role not in ("system", "developer", "user", "assistant"):
        raise BadInput(f"{where}: the role is “{str(role)[:40]}”, and only system, user and assistant are known here.")
    if isinstance(content, list) and all(isinstance(p, dict) and isinstance(p.get("text"), str) for p in content):
        content = "".join(part["text"] for part in content)
    if not isinstance(content, str) or not (content.strip() or role == "system"):
        raise BadInput(f"{where}: its content must be text, and not empty.")
    return role, content


def _whole(name: str, document: dict[str, Any]) -> _Parsed:
    """A conversation from our own format, under new ids."""
    if document.get("format") != FORMAT:
        raise BadInput(f"{name}, line 1: this holds neither “messages” nor a conversation that was exported here.")
    if document.get("version") != VERSION:
        raise BadInput(f"{name} was written by a newer playground (version {document.get('version')} of its format).")
    listed = document.get("turns")
    if not isinstance(listed, list) or not listed:
        raise BadInput(f"{name}: the conversation has no turns.")
    ids: dict[str, str] = {}
    turns = []
    for number, data in enumerate(listed, start=1):
        turn = check_turn(f"{name}, turn {number}", data)
        if turn.id in ids:
            raise BadInput(f"{name}, turn {number}: its id is that of an earlier turn.")
        if turn.parent and turn.parent not in ids:
            raise BadInput(f"{name}, turn {number}: the turn that it follows does not come before it.")
        ids[turn.id] = uuid.uuid4().hex
        turn.id, turn.parent = ids[turn.id], ids.get(turn.parent, "")
        turns.append(turn)
    title, id, selected = (str(document.get(field) or "") for field in ("title", "id", "selected"))
    return title[:500], Origin("import", id[:100]), turns, ids.get(selected, "")
