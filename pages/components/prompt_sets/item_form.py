"""The form of one item of a prompt set; what is written in a box is kept when the box is left."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import streamlit as st

from pages.components.shared import ui
from phi3core.access.roles import Person
from phi3core.errors import BadInput
from phi3core.evaluation import drafts
from phi3core.evaluation.drafts import Draft
from phi3core.evaluation.item_fields import parse_fields

_EXPECTED = (
    ("exact", "Exactly", "The whole answer; case, blanks and a full stop do not count"),
    ("regex", "Regular expression", "Is found in the answer"),
    ("number", "Number", "The last number in the answer"),
    ("language", "Language", "That the answer is in, two small letters: en, de, fr"),
    ("reference", "Reference answer", "A good answer, to compare with"),
    ("criteria", "Criteria", "What a good answer is like, in your own words, for people and for a judge"),
    ("json_schema", "JSON schema", "The answer is JSON that follows it"),
)
_LOST = "what you did last here is not kept."
_LONG = ("reference", "criteria", "json_schema")


def show(draft: Draft, entry: dict[str, Any], me: Person) -> None:
    """Draw the item's form, and what is wrong with the item."""
    key = f"sets_{entry['key']}"

    def keep(name: str, value: Any, widget: str) -> dict[str, Any]:
        """The arguments of a widget that shows a field and keeps what is written in it."""
        return {"key": widget, "on_change": _keep, "args": (draft.name, me, entry["key"], name, widget)} | (
            {} if widget in st.session_state else {"value": value}
        )

    messages = entry["messages"]
    for at, message in enumerate(messages):
        _message(key, at, message, len(messages), keep)
    with st.container(horizontal=True):
        arguments = (draft.name, me, entry["key"])
        if messages[0]["role"] != "system":
            st.button("Add a system prompt", icon=":material/add:", key=f"{key}_system", type="tertiary",
                      on_click=_add_system, args=arguments)  # fmt: skip
        st.button("Add a turn before", icon=":material/add:", key=f"{key}_turn", type="tertiary",
                  on_click=_add_turn, args=arguments)  # fmt: skip
        if len(messages) > 1:
            st.button("Only the prompt", icon=":material/remove:", key=f"{key}_only", type="tertiary",
                      on_click=_only_prompt, args=arguments)  # fmt: skip
    st.markdown("**What is expected**")
    _list(draft, entry, me, "contains", "Contains all of", "Write a text and press Enter")
    columns = st.columns(2)
    for at, (name, label, help) in enumerate(_EXPECTED):
        with columns[at % 2]:
            write = st.text_area if name in _LONG else st.text_input
            write(label, help=help, **keep(name, entry[name], f"{key}_{name}"))
    left, right = st.columns([1, 2])
    with left:
        st.text_input("Id", max_chars=60, **keep("id", entry["id"], f"{key}_id"))
    with right:
        _list(draft, entry, me, "tags", "Tags", "Write a tag and press Enter")
    try:
        parse_fields(entry, "This item", 1)
    except BadInput as error:
        ui.show_warning(str(error))


def _message(
    key: str, at: int, message: dict[str, str], count: int, keep: Callable[[str, Any, str], dict[str, Any]]
) -> None:
    last = at == count - 1
    label = {"system": "System prompt", "user": "Said before, by the user", "assistant": "Answered before"}
    st.text_area(
        "Prompt" if last else label[message["role"]],
        height=140 if last else 80,
        **keep(
            f"message {at} {count} {message['role']}",
            message["content"],
            f"{key}_message_{at}_{count}_{message['role']}",
        ),
    )


def _list(draft: Draft, entry: dict[str, Any], me: Person, name: str, label: str, placeholder: str) -> None:
    widget = f"sets_{entry['key']}_{name}"
    default = {} if widget in st.session_state else {"default": entry[name]}
    st.multiselect(
        label, list(dict.fromkeys([*entry[name], *st.session_state.get(widget, [])])), accept_new_options=True,
        placeholder=placeholder, key=widget, on_change=_keep, args=(draft.name, me, entry["key"], name, widget),
        **default,
    )  # fmt: skip


def _keep(name: str, me: Person, key: str, field: str, widget: str) -> None:
    value = st.session_state[widget]

    def edit(draft: Draft) -> None:
        entry = _entry(draft, key)
        if field.startswith("message "):
            _message_of(entry["messages"], *field.split()[1:])["content"] = value
        else:
            entry[field] = value

    change(name, me, edit)


def change(name: str, me: Person, edit: Callable[[Draft], None]) -> None:
    """Change a draft as it is now. Where it is gone, or `edit` raises BadInput, the page says so, and nothing changes.

    Args:
        name: of the set.
    """
    try:
        if not drafts.change(ui.config(), me, name, edit):
            raise BadInput(f"The draft of “{name}” was saved or discarded on another page: {_LOST}")
    except BadInput as error:
        st.session_state["sets_error"] = str(error)


def _entry(draft: Draft, key: str) -> dict[str, Any]:
    if (entry := draft.entry(key)) is None:
        raise BadInput(f"This item was deleted on another page: {_LOST}")
    return entry


def _message_of(messages: list[dict[str, str]], at: str, count: str, role: str) -> dict[str, str]:
    """The message that was drawn at this place of so many; the last one is the prompt, however many there are now."""
    if int(at) == int(count) - 1:
        return messages[-1]
    if len(messages) != int(count) or messages[int(at)]["role"] != role:
        raise BadInput(f"The messages of this item were changed on another page: {_LOST}")
    return messages[int(at)]


def _change_messages(name: str, me: Person, key: str, edit: Callable[[list[dict[str, str]]], None]) -> None:
    change(name, me, lambda draft: edit(_entry(draft, key)["messages"]))


def _add_system(name: str, me: Person, key: str) -> None:
    def edit(messages: list[dict[str, str]]) -> None:
        if messages[0]["role"] != "system":  # another page may have added it
            messages.insert(0, {"role": "system", "content": ""})

    _change_messages(name, me, key, edit)


def _add_turn(name: str, me: Person, key: str) -> None:
    turn = [{"role": "user", "content": ""}, {"role": "assistant", "content": ""}]
    _change_messages(name, me, key, lambda messages: messages.__setitem__(slice(-1, -1), turn))


def _only_prompt(name: str, me: Person, key: str) -> None:
    _change_messages(name, me, key, lambda messages: messages.__delitem__(slice(0, -1)))
