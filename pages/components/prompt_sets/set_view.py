"""A version of a prompt set as it is kept: its items, and what can be made of it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import streamlit as st

from pages.components.shared import reads, ui
from pages.components.shared.escape import as_code, escape, short
from phi3core.access.roles import Person
from phi3core.errors import Phi3Error
from phi3core.evaluation import drafts, prompt_sets
from phi3core.evaluation.items import Item, split_items, to_jsonl
from phi3core.evaluation.prompt_sets import PromptSet
from phi3core.settings import Settings
from phi3core.timestamps import from_ms

from . import into_set
from .set_list import go

_PAGE = 20


def show(found: PromptSet, items: Sequence[Item], me: Person) -> None:
    """Draw it."""
    if st.button("All prompt sets", icon=":material/arrow_back:", type="tertiary", key="sets_back"):
        go()
    by = f"{short(found.by)} · {ui.ago(from_ms(found.when))}" if found.run_id else "ships with the product"
    st.markdown(f"**{short(found.name)}** {as_code(found.ref)} · {ui.counted(found.size, 'item')} · {by}")
    newest = _versions(found)
    _actions(found, items, me, newest)
    shown = filtered(items, "sets_view")
    pages = -(-len(shown) // _PAGE)
    page = st.pagination(pages, key="sets_page") if pages > 1 else 1
    for item in shown[(page - 1) * _PAGE : page * _PAGE]:
        _item(item)
    if not shown:
        st.caption("No such item.")
    elif len(shown) < len(items) and me.may("reviewer"):
        label = f"Put these {ui.counted(len(shown), 'item')} into another set"
        if st.button(label, icon=into_set.ICON, key="sets_into"):
            into_set.show(shown)


def filtered(items: Sequence[Item], key: str) -> list[Item]:
    """Draw the filter, and return the items that meet it: a text of theirs, and all of some tags."""
    with st.container(horizontal=True, vertical_alignment="bottom"):
        text = st.text_input("Find", key=f"{key}_text", icon=":material/search:").casefold().strip()
        tags = sorted({tag for item in items for tag in item.tags})
        wanted = st.multiselect("Tags", tags, key=f"{key}_tags", format_func=str) if tags else []
    return [
        item
        for item in items
        if set(wanted) <= set(item.tags)
        and (not text or any(text in message["content"].casefold() for message in item.messages) or text in item.id)
    ]


def _versions(found: PromptSet) -> bool:
    """The box with the set's versions. Returns whether the newest one is shown."""
    if not found.run_id:
        return True
    words = "Reading the versions …"
    every = [
        one for one in reads.read(words, prompt_sets.search_sets, ui.config(), True, max_age=5)
        if one.name == found.name
    ]  # fmt: skip
    refs = {one.ref: one for one in every}
    if len(refs) > 1:
        chosen = st.selectbox(
            "Version", list(refs), list(refs).index(found.ref) if found.ref in refs else 0,
            format_func=lambda ref: _version_label(refs[ref], ref == every[0].ref), key=f"sets_version_{found.ref}",
        )  # fmt: skip
        if chosen != found.ref:
            go(set=chosen)
    return not every or every[0].ref == found.ref


def _version_label(one: PromptSet, newest: bool) -> str:
    return (
        f"{one.ref}{' · newest' if newest else ''} · {ui.counted(one.size, 'item')} · {one.by} · "
        f"{from_ms(one.when):%Y-%m-%d %H:%M}"
    )


def _actions(found: PromptSet, items: Sequence[Item], me: Person, newest: bool) -> None:
    may = me.may("reviewer")
    with st.container(horizontal=True, vertical_alignment="center"):
        if found.run_id and may:
            draft = drafts.read(ui.config(), me, found.name)
            label = "Go on editing" if draft else "Edit" if newest else "Edit from this version"
            if st.button(label, icon=":material/edit:", type="primary", key="sets_edit"):
                _edit(found, found.name, me)
        if may and st.button("Copy", icon=":material/content_copy:", key="sets_copy", help="Edit it as a set of yours"):
            _copy(found, me)
        if may and len(items) > 1 and st.button("Split", icon=":material/call_split:", key="sets_split"):
            _split(found, items, me)
        st.download_button(
            "JSONL", to_jsonl(items), f"{found.name}.jsonl", icon=":material/download:", on_click="ignore",
            key="sets_download",
        )  # fmt: skip
        if st.button("Evaluate", icon=":material/checklist:", key="sets_evaluate"):
            st.switch_page("pages/evaluate_page.py", query_params={"set": found.ref})
        if found.run_id and may and st.button("Delete", icon=":material/delete:", key="sets_delete", type="tertiary"):
            _delete(found, me)


def _edit(found: PromptSet, name: str, me: Person) -> None:
    with ui.show_errors():
        draft = reads.wait_for("Reading the prompts …", drafts.begin, ui.config(), me, name, found.ref)
        go(draft=draft.name)


@st.dialog("Copy", icon=":material/content_copy:")
def _copy(found: PromptSet, me: Person) -> None:
    name = st.text_input("Name of the copy", f"my {found.name}", key="sets_copy_name", max_chars=60)
    if st.button("Edit the copy", type="primary", key="sets_copy_now", width="stretch"):
        _edit(found, name, me)


@st.dialog("Split", icon=":material/call_split:")
def _split(found: PromptSet, items: Sequence[Item], me: Person) -> None:
    st.markdown(
        "Two sets of their own, by chance. The same prompt always falls on the same side, also when the set grows and "
        "is split again."
    )
    share = st.slider("Share of the first, in percent", 10, 90, 80, 5, key="sets_split_share")
    names = [
        st.text_input(label, f"{found.name} {end}", key=f"sets_split_{end}", max_chars=60)
        for label, end in (("Name of the first", "a"), ("Name of the second", "b"))
    ]
    parts = split_items(items, share / 100)
    st.caption(" and ".join(ui.counted(len(part), "item") for part in parts))
    if st.button("Split", type="primary", key="sets_split_now", width="stretch", disabled=not all(parts)):
        try:
            reads.wait_for("Saving …", _save_parts, ui.config(), names, parts, me)
        except Phi3Error as error:
            ui.show_error(str(error))
            return
        reads.invalidate()
        st.session_state["sets_result"] = f"{names[0]} and {names[1]} are saved."
        go()


def _save_parts(settings: Settings, names: Sequence[str], parts: Sequence[Sequence[Item]], me: Person) -> None:
    for name, part in zip(names, parts):
        prompt_sets.save_set(settings, name, part, me)


@st.dialog("Delete", icon=":material/delete:")
def _delete(found: PromptSet, me: Person) -> None:
    st.markdown(
        f"This version, {as_code(found.ref)}, is deleted; others of the set stay. One that an evaluation or a review "
        "is of can't be deleted."
    )
    if st.button("Delete this version", type="primary", key="sets_delete_now", width="stretch"):
        try:
            reads.wait_for("Deleting …", prompt_sets.delete_version, ui.config(), found, me)
        except Phi3Error as error:
            ui.show_error(str(error))
            return
        reads.invalidate()
        st.session_state["sets_result"] = f"{found.ref} is deleted."
        go()


def _item(item: Item) -> None:
    with st.container(border=True):
        badges = " ".join(f":blue-badge[{short(tag, 60)}]" for tag in item.tags)
        st.markdown(f"{as_code(item.id)} {badges}")
        for message in item.messages[:-1]:
            st.caption(f"{message['role']}: {short(message['content'], 300)}")
        st.markdown(escape(item.prompt[:600]) + (" …" if len(item.prompt) > 600 else ""))
        for name, value in item.expectations.items():
            st.caption(f"{name}: {short(_told(value), 300)}")


def _told(value: Any) -> str:
    if isinstance(value, list):
        return " | ".join(value)
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
