"""The answers of a round beside each other, as far as their reader may see them."""

from __future__ import annotations

import json
from collections.abc import Sequence

import streamlit as st

from pages.components.chat.turn_foot import figures
from pages.components.chat.turns import show_text
from pages.components.shared import links, ui
from pages.components.shared.escape import differences, escape, short
from phi3core.chat.replay import diff
from phi3core.clean_text import without_control
from phi3core.evaluation.ballot import Verdict
from phi3core.evaluation.hiding import ShownAnswer, Sight
from phi3core.traces.turn import Turn

_LONG = 20_000  # letters of an answer beyond which differences are not looked for: it takes too long


def show(sight: Sight, key: str, marked: bool, verdict: Verdict | None = None) -> None:
    """Draw the question, and the answers in columns; on a phone they stand one below the other.

    Args:
        key: of the elements, without anything that tells who answered.
        marked: mark what differs from the first answer.
    """
    with st.chat_message("user", avatar=":material/person:"):
        st.text(without_control(sight.question))
    if sight.waiting:
        st.caption(f":material/progress_activity: {sight.waiting} …")
    texts = _marked(sight.answers) if marked and not sight.running else {}
    for at, (column, shown) in enumerate(zip(st.columns(len(sight.answers), gap="small"), sight.answers)):
        with column, st.container(border=True, key=f"compare_answer_{key}_{at}"):
            _head(shown, verdict)
            if shown.name in texts:
                st.markdown(texts[shown.name])
            elif shown.text:
                show_text(shown.text)
            if shown.waiting:
                st.caption(f":material/progress_activity: {escape(shown.waiting)} …")
            if shown.missing and shown.turn is None:
                st.caption(":material/do_not_disturb_on: No answer came. Why is told after the vote.")
            if shown.turn is not None and not sight.running:
                _foot(shown, shown.turn, f"{key}_{at}")


def _head(shown: ShownAnswer, verdict: Verdict | None) -> None:
    mine = verdict is not None and shown.turn is not None and verdict.best == shown.turn.id
    badge = " :green-badge[:material/thumb_up: your choice]" if mine else ""
    name = "" if shown.turn is None else f" · {short(shown.turn.ref)}"
    st.markdown(f"**{shown.name}{name}**{badge}")


def _foot(shown: ShownAnswer, turn: Turn, key: str) -> None:
    """What is told of an answer once it is known whose it is."""
    if turn.note:
        st.caption(f":material/info: {escape(turn.note)}")
    if turn.error:
        ui.show_error(turn.error)
    elif turn.state == "stopped":
        st.caption(":material/stop_circle: Stopped.")
    elif not turn.answer:
        st.caption("The model ended its answer without a word.")
    if turn.finish_reason == "length":
        st.caption(":material/content_cut: Cut off at the longest answer allowed.")
    memory = f" · {ui.size(turn.memory)} of memory" if turn.memory else ""
    st.caption(f"{figures(turn)}{memory}")
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        links.chat_link(shown.conversation, "Go on in Chat")
        with st.popover("Request", icon=":material/code:", type="tertiary", key=f"compare_request_{key}"):
            asked = {"model": turn.ref, "asked_for": turn.asked_ref, "system": turn.system, **turn.options}
            asked["seed"] = turn.seed
            given = {name: value for name, value in asked.items() if value not in ("", None)}
            st.code(json.dumps(given, indent=2, ensure_ascii=False), "json", wrap_lines=True)


def _marked(answers: Sequence[ShownAnswer]) -> dict[str, str]:
    """Markdown by the answers' names: the first, and the others with what differs from it; of two, in both."""
    with_text = [shown for shown in answers if shown.text and len(shown.text) <= _LONG]
    if len(with_text) < 2:
        return {}
    first, *others = with_text
    found = {other.name: differences(diff(first.text, other.text), "new") for other in others}
    one = differences(diff(first.text, others[0].text), "old") if len(others) == 1 else escape(first.text)
    return {first.name: one} | found
