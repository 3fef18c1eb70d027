"""An evaluation is begun: which prompts, which versions, with what."""

from __future__ import annotations

from functools import partial

import streamlit as st

from pages.components.compare import candidates
from pages.components.shared import reads, ui
from phi3core.access.roles import Person
from phi3core.build.spec import MAX_TOKENS
from phi3core.evaluation import jobs, prompt_sets
from phi3core.evaluation.evaluate import MOST_VERSIONS
from phi3core.evaluation.prompt_sets import PromptSet


def show(me: Person) -> None:
    """Draw the form."""
    st.caption(
        "Have versions answer the prompts of a set. Scorers hold the answers against what is expected, and say on "
        "which prompts one version is better than another, and how sure that is."
    )
    may = me.may("reviewer")
    with ui.stop_on_error():
        found = reads.read("Reading the prompt sets …", prompt_sets.all_sets, ui.config(), max_age=5)
        sets = {one.ref: one for one in found}
        versions = candidates.listed()
    left, right = st.columns(2)
    if (asked := st.query_params.get("set", "")) and st.session_state.get("evaluate_linked") != asked:
        with ui.show_errors():
            linked = reads.wait_for("Reading the prompt sets …", prompt_sets.find_set, ui.config(), asked)
            sets.setdefault(linked.ref, linked)
            st.session_state["evaluate_linked"], st.session_state["evaluate_set"] = asked, linked.ref
    if (chosen := st.session_state.get("evaluate_set")) and chosen not in sets:  # an older version, by its link
        with ui.show_errors():
            sets[chosen] = reads.read("Reading …", prompt_sets.find_set, ui.config(), chosen, max_age=60)
    with left:
        chosen = st.selectbox("Prompt set", list(sets), format_func=lambda ref: _label(sets[ref]), key="evaluate_set")
    with right:
        if "evaluate_refs" not in st.session_state:
            st.session_state["evaluate_refs"] = candidates.suggested(versions)
        known = [*st.session_state["evaluate_refs"], *(version.ref for version in versions)]
        refs = st.multiselect(
            "Versions", list(dict.fromkeys(known)), key="evaluate_refs", accept_new_options=True,
            max_selections=MOST_VERSIONS, placeholder="name/3, name@alias, name/Production or endpoint:NAME",
            help="Each other one is compared with the first.",
        )  # fmt: skip
    with st.container(horizontal=True, vertical_alignment="bottom"):
        longest = st.number_input("Longest answer, in tokens", 1, MAX_TOKENS, 256, key="evaluate_max_tokens", width=200)
        temperature = st.number_input("Temperature", 0.0, 2.0, 0.0, 0.1, key="evaluate_temperature", width=160)
        seed = st.number_input("Seed", 0, 2**31 - 1, 1, key="evaluate_seed", width=160)
        judge = st.selectbox(
            "Judge", [version.ref for version in versions], index=None, key="evaluate_judge", width=260,
            accept_new_options=True, placeholder="None; a version or endpoint:NAME",
            help="A model that judges the answers by the items' criteria and reference answers. Take one that is "
            "better than those it judges.",
        )  # fmt: skip
        pressed = st.button(
            "Evaluate", type="primary", icon=":material/play_arrow:", key="evaluate_start",
            disabled=not (may and chosen and refs),
            help=None if may else "Evaluating needs the role reviewer.",
        )  # fmt: skip
    if pressed and chosen:
        options = {"max_tokens": longest, "temperature": temperature, "seed": seed}
        with ui.show_errors():
            begin = partial(jobs.start, judge=judge or "")
            reads.wait_for("Looking at the versions …", begin, ui.config(), ui.servers(), chosen, refs, options, me)
    st.page_link("pages/prompt_sets_page.py", label="Prompt sets of your own", icon=":material/list_alt:")


def _label(one: PromptSet) -> str:
    return f"{one.name} · {ui.counted(one.size, 'item')}"
