"""Two versions beside each other: what breaks a program that calls the one when it gets the other, and all else."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from itertools import groupby

import pandas as pd
import streamlit as st

from pages.components.shared import reads, ui
from pages.components.shared.escape import escape, short
from phi3core import tags
from phi3core.errors import Phi3Error
from phi3core.registry import compare, reader
from phi3core.registry.compare import CHAT_TEMPLATE, METRICS, SIGNATURE, Comparison, Difference
from phi3core.registry.models import Version
from phi3core.registry.reference import parse_reference
from phi3core.settings import Settings
from phi3core.traces import feedback
from phi3core.traces.feedback import Reviews

from . import model_state, navigation, parity_view
from .tabs.reviews import won

_DIFFERENCES, _EVERYTHING = "Differences", "Everything"
_CUT = 600  # letters of a value


def show(left: str, right: str) -> None:
    """The page that compares what two references mean now. Either may be empty: then it asks for it."""
    navigation.button("Registry", ":material/inventory_2:", "compare_all", {})
    st.title("Compare two versions", anchor=False)
    st.caption("What a program meets that calls the left one today and is given the right one.")
    _choose(left, right)
    if not left or not right:
        st.info("Choose both versions.", icon=":material/compare_arrows:")
        return
    with ui.stop_on_error():
        one, other = reads.wait_for("Looking both up …", _both, left, right)
        config, key = ui.config(), (one.ref, one.source, other.ref, other.source)
        # Kept, so that the switch between views reads nothing again.
        fetch = st.session_state.get("compare_fetched") == key
        words = f"Fetching the files of both, {_sizes(one, other)} …" if fetch else "Comparing …"
        max_age = 600 if fetch else 30
        found = reads.read(words, compare.compare_versions, config, one, other, fetch, max_age=max_age)
    if one.ref == other.ref:
        st.info(f"Both are {short(one.ref)}. Choose another one to compare it with.", icon=":material/info:")
        return
    _verdict(found, one, other)
    _people(one, other)
    if st.button("Compare their answers", icon=":material/compare:", key="compare_answers"):
        st.switch_page("pages/compare_page.py", query_params={"with": [one.ref, other.ref]})
    parity_view.show_against(other, one)
    for sentence in found.unread:
        ui.show_warning(sentence)
    if any(difference.unsure for difference in found.differences):
        st.button(
            f"Fetch the files and compare them ({_sizes(one, other)})", icon=":material/download:", key="compare_fetch",
            on_click=st.session_state.update, args=({"compare_fetched": key},),
        )  # fmt: skip
    view = st.segmented_control(
        "Show", [_DIFFERENCES, _EVERYTHING], default=_DIFFERENCES, required=True, key="show", bind="query-params",
        label_visibility="collapsed",
    )  # fmt: skip
    _sections(found, one, other, view == _EVERYTHING)


def _sizes(one: Version, other: Version) -> str:
    return ui.size((one.size or 0) + (other.size or 0)) if one.size and other.size else "of unknown size"


def _both(left: str, right: str) -> tuple[Version, Version]:
    return reader.get_version(ui.config(), left), reader.get_version(ui.config(), right)


# ---------------------------------------------------------------- choosing


def _choose(left: str, right: str) -> None:
    """A box for each side, to choose from the versions of both models or to write any reference in."""
    options = _options(left, right)
    with st.container(horizontal=True, vertical_alignment="bottom"):
        for side, ref, label in (("left", left, "Called today"), ("right", right, "Given instead")):
            key = f"compare_{side}"
            if st.session_state.get(f"{key}_shown") != ref:  # the address decides, not what was chosen before
                st.session_state[f"{key}_shown"], st.session_state[key] = ref, ref or None
            st.selectbox(
                label, options, key=key, accept_new_options=True, on_change=_chosen, width=300,
                placeholder="name/3 or name@alias",
            )  # fmt: skip
        if st.button("Swap", icon=":material/swap_horiz:", key="compare_swap", disabled=not (left and right)):
            navigation.go({"compare": right, "with": left})


def _chosen() -> None:
    sides = {"compare": "compare_left", "with": "compare_right"}
    navigation.go_next({name: st.session_state.get(key) or "" for name, key in sides.items()})


def _options(left: str, right: str) -> list[str]:
    """The references on either side, and all versions of their models."""
    found = [ref for ref in (left, right) if ref]
    for ref in tuple(found):
        try:
            name = parse_reference(ref).name
        except Phi3Error:
            continue
        found += [version.ref for version in model_state.indexed_versions(name)]
    return list(dict.fromkeys(found))


# ---------------------------------------------------------------- what was found


def _verdict(found: Comparison, one: Version, other: Version) -> None:
    """Whether programs go on working, before anything else."""
    signed = any(difference.section == SIGNATURE for difference in found.differences)
    if found.breaks:
        title = f"**Programs that call {short(one.ref)} would break on {short(other.ref)}**"
        lines = [f"- {escape(sentence)}" for sentence in found.breaks]
        if found.takes[0] != found.takes[1]:
            lines = [f"- {short(v.ref)}: {escape(t)}" for v, t in zip((one, other), found.takes)] + lines
        st.error("\n".join([title, "", *lines]), icon=":material/link_off:")
    elif signed:
        words = f"Programs that call {short(one.ref)} can call {short(other.ref)} as they are: the signature fits."
        st.success(words, icon=":material/check_circle:")
    elif not found.unread:
        st.info("Neither has a signature: nothing says what they take.", icon=":material/info:")


def _people(one: Version, other: Version) -> None:
    """What people said of both."""
    with ui.show_errors():
        left, right = reads.read("Reading the reviews …", _reviews, ui.config(), one, other, max_age=20)
        st.subheader("What people said", anchor=False)
        if not (left.given or right.given or left.conversations or right.conversations):
            st.caption("Nobody has talked to either of them or judged an answer yet.")
            return
        rows = {
            "Conversations": [f"{side.conversations:,}" for side in (left, right)],
            "Thumbs": [_thumbs(side) for side in (left, right)],
            "Votes won": [won(side.score) for side in (left, right)],
            "Against the other one": [won(left.against(other)), won(right.against(one))],
            "Ties, both bad": [f"{s.ties:,}, {s.bad:,}" for s in (left.against(other), right.against(one))],
            "By": [", ".join(short(person) for person in side.people[:10]) or "–" for side in (left, right)],
        }
        st.table(pd.DataFrame.from_dict(rows, orient="index", columns=[short(one.ref), short(other.ref)]))


def _reviews(config: Settings, one: Version, other: Version) -> tuple[Reviews, Reviews]:
    return feedback.read_reviews(config, one), feedback.read_reviews(config, other)


def _thumbs(found: Reviews) -> str:
    return f"{found.up} up, {found.down} down" if found.up or found.down else "–"


def _sections(found: Comparison, one: Version, other: Version, everything: bool) -> None:
    differing = [difference for difference in found.differences if not difference.same or difference.unsure]
    shown = found.differences if everything else differing
    if not differing:
        st.success("They do not differ in anything that is compared here.", icon=":material/check_circle:")
    for section, rows in groupby(shown, key=lambda difference: difference.section):
        listed = list(rows)
        count, unsure = sum(not row.same for row in listed), sum(row.unsure for row in listed)
        all_of_it = sum(difference.section == section for difference in found.differences)
        more = f", {unsure} not compared" if unsure else ""
        title = f"{section} :gray[:small[{count} of {all_of_it} differ{'s' if count == 1 else ''}{more}]]"
        st.subheader(title, anchor=False)
        if section == CHAT_TEMPLATE:
            _template(listed[0], one, other)
        else:
            _table(listed, one, other)
        if section == METRICS:
            _measured(one, other)
    alike = [s for s in compare.SECTIONS if s not in {d.section for d in differing} and _has(found, s)]
    if alike and not everything:
        st.caption(f"No differences in: {', '.join(section.lower() for section in alike)}.")


def _measured(*versions: Version) -> None:
    """Where the figures come from: those of two machines, or of a busy one, do not compare."""
    said = [f"{short(v.ref)} was measured {ui.measured(v)}." for v in versions if tags.TOKENS_PER_SECOND in v.metrics]
    if any(v.measured and v.measured.busy for v in versions):
        said.append("One that was measured on a busy machine is faster than that: its page measures it again.")
    if said:
        st.caption(" ".join(said))


def _has(found: Comparison, section: str) -> bool:
    return any(difference.section == section for difference in found.differences)


def _table(rows: Sequence[Difference], one: Version, other: Version) -> None:
    """Cells render Markdown, so their text is escaped. The two versions differ: a column's name may not come twice."""
    table = pd.DataFrame(
        {
            short(one.ref): [_cell(row.left) for row in rows],
            short(other.ref): [_cell(row.right) for row in rows],
        },
        index=[_mark(row) + short(row.name, 120) for row in rows],
    )
    st.table(table)


def _mark(row: Difference) -> str:
    if row.breaks:
        return ":red[:material/link_off:] "
    return ":gray[?] " if row.unsure else "" if row.same else ":orange[≠] "


def _cell(text: str) -> str:
    if not text:
        return ":gray[–]"
    return short(text, _CUT)


def _template(row: Difference, one: Version, other: Version) -> None:
    """Line by line, as programmers read changes."""
    if row.same:
        st.code(row.left, language="jinja2", wrap_lines=True, height=240)
        return
    lines = difflib.unified_diff(row.left.splitlines(), row.right.splitlines(), one.ref, other.ref, lineterm="")
    st.code("\n".join(lines), language="diff", wrap_lines=True)
