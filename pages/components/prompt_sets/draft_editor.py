"""Editing a prompt set: one item at a time, each change kept on this machine at once, and saved as a version."""

from __future__ import annotations

from typing import Any

import streamlit as st

from pages.components.shared import reads, ui
from pages.components.shared.escape import short
from phi3core.access.roles import Person
from phi3core.clean_text import one_line
from phi3core.errors import Conflict, Phi3Error
from phi3core.evaluation import drafts
from phi3core.evaluation.drafts import Draft

from . import item_form
from .set_list import go

_AT = "sets_item"  # of session_state, and of the box: the key of the item that is edited


def show(draft: Draft, me: Person) -> None:
    """Draw the editor."""
    if st.button("All prompt sets", icon=":material/arrow_back:", type="tertiary", key="sets_back"):
        go()
    st.markdown(f"**{short(draft.name)}** · {ui.counted(len(draft.entries), 'item')} · :orange-badge[not saved yet]")
    st.caption("What you write is kept on this machine when you leave a box; “Save” makes it the set's newest version.")
    _save(draft, me)
    shown = _found(draft)
    if not shown:
        st.caption("No such item.")
    else:
        keys = [entry["key"] for entry in shown]
        if st.session_state.get(_AT) not in keys:
            st.session_state[_AT] = keys[0]
        labels = {entry["key"]: _label(entry) for entry in shown}
        chosen = st.selectbox("Item", keys, format_func=lambda key: labels.get(key, ""), key=_AT)
        at = keys.index(chosen)
        with st.container(horizontal=True):
            st.button("The item before", icon=":material/chevron_left:", key="sets_before", type="tertiary",
                      disabled=at == 0, on_click=_step, args=(keys, at - 1))  # fmt: skip
            st.button("The next item", icon=":material/chevron_right:", key="sets_after", type="tertiary",
                      disabled=at == len(keys) - 1, on_click=_step, args=(keys, at + 1))  # fmt: skip
        item_form.show(draft, shown[at], me)
    with st.container(horizontal=True):
        st.button("Add an item", icon=":material/add:", key="sets_add", on_click=_add, args=(draft.name, me))
        if shown:
            chosen = st.session_state[_AT]
            st.button("Duplicate", icon=":material/content_copy:", key="sets_duplicate", on_click=_add,
                      args=(draft.name, me, chosen))  # fmt: skip
            st.button("Delete the item", icon=":material/delete:", key="sets_remove", on_click=_remove,
                      args=(draft.name, me, [chosen]))  # fmt: skip
    if shown:
        _together(draft, me, [entry["key"] for entry in shown])


def _save(draft: Draft, me: Person) -> None:
    over = bool(st.session_state.get("sets_conflict") == (draft.name, draft.base))
    with st.container(horizontal=True):
        label = "Save it as the newest all the same" if over else "Save"
        pressed = st.button(label, icon=":material/save:", type="primary", key="sets_save", disabled=not draft.entries)
        with st.popover("Discard", icon=":material/delete_sweep:", type="tertiary"):
            st.caption("What you wrote since the last version is gone then.")
            if st.button("Discard what is not saved", key="sets_discard"):
                drafts.discard(ui.config(), me, draft.name)
                st.session_state.pop("sets_conflict", None)
                go(**({"set": draft.name} if draft.base else {}))
    if not pressed:
        return
    try:
        saved = reads.wait_for("Saving …", drafts.save, ui.config(), me, draft.name, over)
    except Conflict as error:
        st.session_state["sets_conflict"] = (draft.name, draft.base)
        st.session_state["sets_error"] = str(error)
        st.rerun()
    except Phi3Error as error:
        ui.show_error(str(error))
        return
    st.session_state.pop("sets_conflict", None)
    reads.invalidate()
    st.session_state["sets_result"] = f"{saved.ref} is saved, with {ui.counted(saved.size, 'item')}."
    go(set=saved.name)


def _found(draft: Draft) -> list[dict[str, Any]]:
    if len(draft.entries) < 2:
        return draft.entries
    with st.container(horizontal=True, vertical_alignment="bottom"):
        text = st.text_input("Find", key="sets_find", icon=":material/search:").casefold().strip()
        tags = sorted({tag for entry in draft.entries for tag in entry["tags"]})
        wanted = set(st.multiselect("Tags", tags, key="sets_find_tags")) if tags else set()
    return [
        entry
        for entry in draft.entries
        if wanted <= set(entry["tags"])
        and (not text or text in entry["id"] or any(text in one["content"].casefold() for one in entry["messages"]))
    ]


def _together(draft: Draft, me: Person, keys: list[str]) -> None:
    """What is done to all the items that are shown."""
    with st.expander(f"Do something to {ui.counted(len(keys), 'item')} at once", icon=":material/library_add_check:"):
        with st.container(horizontal=True, vertical_alignment="bottom"):
            tag = st.text_input("Tag", key="sets_tag", max_chars=60).strip()
            st.button("Tag them", key="sets_tag_all", disabled=not tag, on_click=_tag, args=(draft.name, me, keys, tag))
            st.button("Take the tag off", key="sets_untag_all", disabled=not tag, on_click=_tag,
                      args=(draft.name, me, keys, tag, False))  # fmt: skip
            st.button("Delete them", icon=":material/delete:", key="sets_remove_all", on_click=_remove,
                      args=(draft.name, me, keys), disabled=len(keys) == len(draft.entries))  # fmt: skip


def _label(entry: dict[str, Any]) -> str:
    return f"{entry['id'] or '–'} · {one_line(entry['messages'][-1]['content'], 80) or 'nothing is asked yet'}"


def _step(keys: list[str], at: int) -> None:
    st.session_state[_AT] = keys[at]


def _add(name: str, me: Person, like: str = "") -> None:
    added: list[str] = []
    item_form.change(name, me, lambda draft: added.append(draft.add(draft.entry(like) if like else None)))
    for filter in ("sets_find", "sets_find_tags"):  # it may not meet them
        st.session_state.pop(filter, None)
    if added:
        st.session_state[_AT] = added[0]


def _remove(name: str, me: Person, keys: list[str]) -> None:
    def edit(draft: Draft) -> None:
        draft.entries = [entry for entry in draft.entries if entry["key"] not in keys]

    item_form.change(name, me, edit)


def _tag(name: str, me: Person, keys: list[str], tag: str, on: bool = True) -> None:
    def edit(draft: Draft) -> None:
        for entry in draft.entries:
            if entry["key"] in keys:
                entry["tags"] = sorted({*entry["tags"], tag} if on else {*entry["tags"]} - {tag})
                st.session_state.pop(f"sets_{entry['key']}_tags", None)

    item_form.change(name, me, edit)
