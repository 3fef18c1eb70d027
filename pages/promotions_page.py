"""Promotions: what waits for a decision, what was done and by whom, and what a promotion needs."""

from datetime import date
from typing import Any

import streamlit as st

from pages.components.promotions import policy_editor, record_list, record_state, record_view, requests_list, timeline
from pages.components.shared import dialogs, store_reads, ui

_REQUESTS, _RECORD, _TIMELINE, _POLICIES = "requests", "record", "timeline", "policies"
_VIEWS = {
    _REQUESTS: "Requests",
    _RECORD: "Record",
    _TIMELINE: "Timeline",
    _POLICIES: "Policies",
}
_WIDGETS = ("view", "model", "action", "status", "user", "days", "text", "stage")


def _enter(names: list[str], view: str) -> None:
    """The widgets follow the address where it is a new one: a link was followed. Else the address follows them."""
    asked = st.query_params.to_dict()
    if asked == st.session_state.get("promotions_address"):
        return
    start: dict[str, Any] = {name: asked.get(name, "") for name in _WIDGETS}
    start["view"] = start["view"] if start["view"] in _VIEWS else _RECORD if "record" in asked else view
    start["action"] = start["action"] if start["action"] in record_view.ACTIONS else ""
    start["status"] = start["status"] if start["status"] in record_list.STATUSES else ""
    start["stage"] = start["stage"] if start["stage"] in timeline.STAGES else timeline.STAGES[0]
    start["days"] = _days(start["days"])
    if start["model"] and start["model"] not in names:
        ui.show_warning(f"There is no registered model “{start['model']}”.")
        start["model"] = ""
    for name, value in start.items():
        st.session_state[f"promotions_{name}"] = value
    st.session_state["promotions_entry"] = st.session_state.get("promotions_entry", 0) + 1


def _days(text: str) -> tuple[date, ...]:
    try:
        return tuple(date.fromisoformat(day) for day in text.split("_") if day)[:2]
    except ValueError:
        return ()


def _leave(view: str, model: str, record: str) -> None:
    """What is shown now stands in the address, so that it survives a reload and can be sent as a link."""
    state = st.session_state
    shown = {"view": view, "model": model}
    if view == _RECORD:
        shown |= {name: state.get(f"promotions_{name}", "") for name in ("action", "status", "user", "text")}
        shown |= {"days": "_".join(f"{day}" for day in state.get("promotions_days_shown", ())), "record": record}
    if view == _TIMELINE:
        shown["stage"] = state.get("promotions_stage", "")
    address = {name: value for name, value in shown.items() if value}
    if st.query_params.to_dict() != address and (address != {"view": view} or st.query_params):
        st.query_params.from_dict(address)
    state["promotions_address"] = st.query_params.to_dict()


st.title("Promotions", anchor=False)
st.caption("Who moved which version when and why, what waits for a decision, and what a promotion needs.")
dialogs.show_result()
with ui.stop_on_error():
    models = store_reads.models()
    waiting = store_reads.waiting_requests()
_enter([model.name for model in models], _REQUESTS if waiting else _RECORD)

chosen = st.session_state["promotions_model"]
count = sum(chosen in ("", request.model) for request in waiting)
with st.container(horizontal=True, vertical_alignment="center"):
    chosen_view = st.segmented_control(
        "View", list(_VIEWS), required=True, key="promotions_view", label_visibility="collapsed",
        format_func=lambda name: _VIEWS[name] + (f" ({count})" if name == _REQUESTS and count else ""),
    )  # fmt: skip
    view = chosen_view or _REQUESTS
    one = view in (_TIMELINE, _POLICIES)  # of one model only
    if one and not st.session_state["promotions_model"] and models:
        st.session_state["promotions_model"] = next((m.name for m in models if m.production), models[0].name)
    names = [model.name for model in models]
    model = st.selectbox(
        "Model", names if one else ["", *names], key="promotions_model", label_visibility="collapsed",
        format_func=lambda name: name or "All models", width=320,
    )  # fmt: skip
model = model or ""
record_state.show(model)

opened = ""
with ui.stop_on_error():
    if view == _REQUESTS:
        requests_list.page(waiting, model)
    elif view == _RECORD:
        opened = record_view.show(model, st.query_params.get("record", ""))
    elif not model:
        st.info("Nothing is registered yet. Build a version first.", icon=":material/inventory_2:")
        st.page_link("pages/build_page.py", label="Build a version", icon=":material/construction:")
    elif view == _TIMELINE:
        timeline.show(model)
    else:
        policy_editor.show(model)
_leave(view, model, opened)
