"""A replay: watched while it runs, and shown beside the recorded conversation."""

from __future__ import annotations

from collections.abc import Sequence

import streamlit as st

from pages.components.shared import links, live_part, reads, ui
from pages.components.shared.escape import differences, escape, short
from phi3core.access.roles import Person
from phi3core.chat import replay
from phi3core.chat.conversation import Conversation
from phi3core.chat.live_conversations import load_conversation
from phi3core.chat.replay import AnswerPair, Replay
from phi3core.errors import BadInput, Forbidden, NotFound
from phi3core.evaluation.comparison import Comparison
from phi3core.serving.pool import Pool
from phi3core.traces.turn import Turn


def show(conversation_id: str) -> None:
    """A replay by the id of the conversation that it makes or made, whatever its state."""
    with ui.stop_on_error():
        repeated, original, under_way = reads.wait_for(
            "Reading the replay …", _load, conversation_id, ui.servers(), ui.person()
        )
    st.subheader(short(repeated.title), anchor=False)
    with st.container(horizontal=True):
        for label, conversation in (("Recorded", original), ("Replayed", repeated)):
            links.chat_link(conversation.id, label)
    if under_way is None or under_way.state != "running":
        _ended(original, repeated, under_way)
        return

    live_part.draw(_running, under_way, every=0.5)


def _load(conversation_id: str, pool: Pool, me: Person) -> tuple[Conversation, Conversation, Replay | None]:
    """The new conversation, the one it repeats, and the replay itself where this process runs it."""
    under_way = replay.find_replay(conversation_id, me)
    if under_way is not None:
        return under_way.conversation, under_way.original, under_way
    config = ui.config()
    repeated = load_conversation(config, pool, conversation_id, me)
    if repeated.origin is None or repeated.origin.kind != "replay":
        raise BadInput("This conversation repeats no other one: replay one from the list.")
    try:
        original = load_conversation(config, pool, repeated.origin.conversation, me)
    except NotFound as error:
        raise NotFound("The conversation that this one repeats was deleted: there is nothing to compare.") from error
    return repeated, original, None


def _running(by_itself: bool, under_way: Replay) -> None:
    if by_itself and under_way.state != "running":
        st.rerun()  # with its figures and chart, and without looking again
    at, total = min(under_way.done + 1, under_way.total), under_way.total
    live = under_way.conversation.live
    waiting = f" · {live.waiting}" if live and live.waiting else ""
    with st.container(horizontal=True, vertical_alignment="center"):
        st.progress(under_way.done / max(total, 1), f"Asking question {at} of {total}{escape(waiting)}")
        st.button("Stop", icon=":material/stop_circle:", key="replay_stop", on_click=_stop, args=(under_way,))
    for pair_at, pair in enumerate(under_way.pairs, start=1):
        _pair(pair_at, pair)


def _stop(under_way: Replay) -> None:
    try:
        under_way.stop(ui.person())
    except Forbidden as error:
        st.toast(escape(str(error)), icon=":material/error:")


def _ended(original: Conversation, repeated: Conversation, under_way: Replay | None) -> None:
    with ui.stop_on_error():
        pairs = under_way.pairs if under_way else replay.compare(original, repeated)
    total = under_way.total if under_way else len(original.path)
    if under_way and under_way.state == "failed":
        ui.show_error(under_way.error)
    elif under_way and under_way.state == "stopped":
        st.caption(f":material/stop_circle: Stopped after {len(pairs)} of {total} questions.")
    if not pairs:
        st.info("No answer came, so there is nothing to compare.", icon=":material/compare_arrows:")
        return
    _summary(pairs)
    compared = Comparison(repeated.id, [original, repeated], replayed=True)
    if ui.person().may("reviewer") and any(round.pairs for round in compared.rounds):
        st.page_link(
            "pages/compare_page.py", label="Vote, without names", icon=":material/how_to_vote:",
            query_params={"replay": repeated.id},
        )  # fmt: skip
    for at, pair in enumerate(pairs, start=1):
        _pair(at, pair)
    _speeds(pairs)


def _summary(pairs: Sequence[AnswerPair]) -> None:
    """How much is the same, in one line."""
    same, failed = sum(pair.same for pair in pairs), sum(pair.new.state == "failed" for pair in pairs)
    count = len(pairs)
    if same == count:
        words = "The answer is the same" if count == 1 else f"All {count} answers are the same"
        st.success(f"{words}, to the letter.", icon=":material/check_circle:")
        return
    words = "The answer is different." if count == 1 else f"{same} of {count} answers are the same."
    words += f" {failed} failed." if failed else ""
    st.info(words, icon=":material/compare_arrows:")
    st.caption("On :red-background[red], what only the recorded answer has; on :green-background[green], the new one.")


def _pair(at: int, pair: AnswerPair) -> None:
    """A question with both answers, in a frame."""
    with st.container(border=True, key=f"replay_pair_{at}"):
        with st.container(horizontal=True, vertical_alignment="center", wrap=False):
            st.markdown(f"**{at}** · {short(pair.old.question, 300)}", width="stretch")
            _badge(pair)
        if pair.same:
            st.markdown(escape(pair.old.answer))
            for name, turn in (("Recorded", pair.old), ("Replayed", pair.new)):
                _head(name, turn)
            return
        recorded, replayed = st.columns(2, gap="medium")
        pieces = pair.diff
        for column, name, side, turn in (
            (recorded, "Recorded", "old", pair.old),
            (replayed, "Replayed", "new", pair.new),
        ):
            with column:
                _head(name, turn)
                if turn.answer:
                    st.markdown(differences(pieces, side))
                elif not turn.error:
                    st.caption("No answer.")
                if turn.error:
                    ui.show_error(turn.error)


def _head(name: str, turn: Turn) -> None:
    st.caption(f"{name} · {_figures(turn)}")
    if turn.note:  # how it was asked is a part of what differs
        st.caption(f":material/info: {escape(turn.note)}")


def _badge(pair: AnswerPair) -> None:
    if pair.new.state == "failed":
        st.badge("failed", icon=":material/error:", color="red")
    elif pair.same:
        st.badge("same", icon=":material/check:", color="green")
    else:
        st.badge("different", icon=":material/difference:", color="orange")


def _figures(turn: Turn) -> str:
    figures = [short(turn.ref)]
    figures += [f"{turn.completion_tokens:,} tokens"] if turn.completion_tokens else []
    figures += [ui.speed(turn.tokens_per_second)] if turn.tokens_per_second else []
    return " · ".join(figures)


# ---------------------------------------------------------------- speed


def _speeds(pairs: Sequence[AnswerPair]) -> None:
    """The speed of each answer, where there are enough to see something."""
    if len(pairs) < 2 or not any(pair.new.tokens_per_second and pair.old.tokens_per_second for pair in pairs):
        return
    import plotly.graph_objects as go

    turns = [str(at) for at, _ in enumerate(pairs, start=1)]
    bars = (
        ("Recorded", "#8A97A6", [pair.old.tokens_per_second or None for pair in pairs]),
        ("Replayed", "#2F86CF", [pair.new.tokens_per_second or None for pair in pairs]),
    )
    figure = go.Figure([go.Bar(name=name, x=turns, y=speeds, marker_color=color) for name, color, speeds in bars])
    figure.update_traces(hovertemplate="%{y:.0f} tokens/s")
    figure.update_layout(
        barmode="group", bargap=0.5, height=240, margin={"l": 0, "r": 0, "t": 8, "b": 0},
        legend={"orientation": "h", "y": 1.15},
        xaxis={"title": "Question", "type": "category"}, yaxis={"title": "tokens/s", "rangemode": "tozero"},
    )  # fmt: skip
    st.markdown("**Speed**")
    st.plotly_chart(
        figure,
        config={"displayModeBar": False},
        key="replay_speeds",
        alt="Tokens per second of each answer, recorded and replayed",
    )
