"""An evaluation is begun: which prompts, which versions, with what."""

from __future__ import annotations

from pathlib import PurePath

import streamlit as st
from streamlit.runtime.uploaded_file_manager import UploadedFile

from pages.components.compare import candidates
from pages.components.shared import reads, ui
from pages.components.shared.escape import short
from phi3core.access.roles import Person
from phi3core.build.spec import MAX_TOKENS
from phi3core.errors import Phi3Error
from phi3core.evaluation import jobs, prompt_sets
from phi3core.evaluation.evaluate import MOST_VERSIONS
from phi3core.evaluation.item_files import read_items
from phi3core.evaluation.prompt_sets import PromptSet
from phi3core.settings import Settings


def show(me: Person) -> None:
    """Draw the form."""
    st.caption(
        "Have versions answer the prompts of a set. Scorers hold the answers against what is expected, and say on "
        "which prompts one version is better than another, and how sure that is."
    )
    may = me.may("reviewer")
    with ui.stop_on_error():
        sets = {one.ref: one for one in reads.read("Reading the prompt sets …", _sets, ui.config(), max_age=5)}
        versions = candidates.listed()
    left, right = st.columns(2)
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
        pressed = st.button(
            "Evaluate", type="primary", icon=":material/play_arrow:", key="evaluate_start",
            disabled=not (may and chosen and refs),
            help=None if may else "Evaluating needs the role reviewer.",
        )  # fmt: skip
    if pressed and chosen:
        options = {"max_tokens": longest, "temperature": temperature, "seed": seed}
        with ui.show_errors():
            reads.wait_for(
                "Looking at the versions …", jobs.start, ui.config(), ui.servers(), chosen, refs, options, me
            )
    with st.expander("Prompt sets of your own", icon=":material/upload_file:"):
        _import(me)


def _sets(settings: Settings) -> list[PromptSet]:
    shipped = [prompt_sets.find_set(settings, name) for name in reversed(prompt_sets.shipped_names())]
    return [*prompt_sets.search_sets(settings), *shipped]


def _label(one: PromptSet) -> str:
    return f"{one.name} · {ui.counted(one.size, 'item')}"


def _import(me: Person) -> None:
    st.caption(
        "CSV with a column “prompt” and columns named exact, contains, regex, number, json_schema or reference; JSON "
        "lines with “prompt” or “messages” and “expectations”; or OpenAI messages. A changed file makes a new version "
        "of the set; earlier ones stay."
    )
    file = st.file_uploader("File", ["csv", "jsonl", "json"], key="evaluate_file", disabled=not me.may("reviewer"))
    if isinstance(file, UploadedFile):
        name = st.text_input("Name", PurePath(file.name).stem, key=f"evaluate_name_{file.file_id}")
        if st.button("Save the set", icon=":material/save:", key="evaluate_save"):
            try:
                saved = reads.wait_for("Saving …", _save, ui.config(), name, file.name, file.getvalue(), me)
            except Phi3Error as error:
                ui.show_error(str(error))
            else:
                reads.invalidate()
                st.toast(f"{short(saved.ref)} has {ui.counted(saved.size, 'item')}.")
                st.rerun()


def _save(settings: Settings, name: str, file: str, data: bytes, me: Person) -> PromptSet:
    return prompt_sets.save_set(settings, name, read_items(file, data), me)
