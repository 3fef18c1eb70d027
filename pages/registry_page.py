"""Registry: models, their versions, and what moves between stages."""

import pandas as pd
import streamlit as st

from pages.components import moves, ui
from pages.components.builds import show_run
from phi3core import keys, promotion
from phi3core.markdown import safe_markdown
from phi3core.registry import Version

_MEASURED = "Measured once, when the version was built, on the machine that built it."
_TAG_NAMES = {
    keys.SOURCE: "Source",
    keys.REVISION: "Revision",
    keys.PRECISION: "Precision",
    keys.LICENCE: "Licence",
}


def _table(versions: list[Version]) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "Version": [f"{v.ref}" for v in versions],
            "Stage": [[v.stage] for v in versions],
            "Aliases": [[f"@{a}" for a in v.aliases if a not in keys.RESERVED_ALIASES] for v in versions],
            "Wrapper": [v.wrapper or "–" for v in versions],
            "Precision": [v.precision or "–" for v in versions],
            "Size, MB": [v.size / 1e6 if v.size else None for v in versions],
            "Tokens/s": [v.metrics.get(keys.TOKENS_PER_SECOND) for v in versions],
            "Created": [v.created for v in versions],
        }
    )


_COLUMNS = {
    "Stage": st.column_config.MultiselectColumn(
        options=list(ui.STAGE_COLORS), color=["green", "orange", "gray", "#00000000"]
    ),
    "Aliases": st.column_config.ListColumn(width="small"),
    "Size, MB": st.column_config.NumberColumn(format="%,.0f"),
    "Tokens/s": st.column_config.NumberColumn(format="%.0f"),
    "Created": st.column_config.DatetimeColumn(format="YYYY-MM-DD HH:mm"),
}


def _detail(version: Version, listed: list[Version]) -> None:
    st.subheader(f"{version.ref} {ui.stage_badge(version.stage)} {ui.alias_badges(version)}", anchor=False)
    if version.description:
        st.markdown(safe_markdown(version.description))
    with st.container(horizontal=True):
        if st.button("Chat with this version", icon=":material/chat:", type="primary", key="registry_chat"):
            st.switch_page("pages/chat_page.py", query_params={"ref": version.ref})
        if st.button("Move to a stage", icon=":material/verified:", key="registry_move"):
            moves.move(version, listed)
        if st.button("Aliases", icon=":material/alternate_email:", key="registry_aliases"):
            moves.aliases(version, listed)
    speed, first = version.metrics.get(keys.TOKENS_PER_SECOND), version.metrics.get(keys.FIRST_TOKEN_MS)
    with st.container(horizontal=True, gap="large"):
        st.metric("Speed", f"{speed:.0f} tokens/s" if speed else "–", width="content", help=_MEASURED)
        st.metric("First token", f"{first:.0f} ms" if first else "–", width="content")
        st.metric("Memory", ui.megabytes(version.metrics.get(keys.PEAK_MEMORY)), width="content")
        st.metric("Size", ui.megabytes(version.size), width="content")
    with ui.told():
        detail = ui.detail(version)
    signature, about, parameters, metrics = st.tabs(["Signature", "About", "Parameters", "Metrics"])
    with signature:
        if detail.mlmodel_error:
            ui.show_warning(detail.mlmodel_error)
        for title, lines in (("Inputs", detail.inputs), ("Outputs", detail.outputs), ("Options", detail.params)):
            if lines:
                st.markdown(f"**{title}**\n" + "\n".join(f"- {ui.code(line)}" for line in lines))
    with about:
        rows = {"Wrapper": version.wrapper or "not one of ours"}
        rows |= {name: version.tags[key] for key, name in _TAG_NAMES.items() if version.tags.get(key)}
        rows |= {key: value for key, value in version.tags.items() if not key.startswith("phi3.")}
        rows |= {"Created": f"{version.created:%Y-%m-%d %H:%M} UTC", "Logged model": version.source}
        ui.show_table(rows)
        if digest := version.tags.get(keys.DIGEST):
            st.caption("SHA-256 of the logged files")
            st.code(digest, language=None)
        if version.run_id:
            show_run(detail.experiment_id, version.run_id)
    with parameters:
        if detail.parameters:
            ui.show_table(detail.parameters)
        else:
            st.caption("The source run recorded none.")
    with metrics:
        if version.metrics:
            ui.show_table({name: f"{value:,.2f}" for name, value in sorted(version.metrics.items())})
        else:
            st.caption("The source run recorded none.")


st.title("Registry")
st.caption("Every registered model and its versions; exactly one of them can be in Production.")

with ui.told():
    models = {model.name: model for model in ui.models()}
if not models:
    st.info("The registry is empty. Build a version first.", icon=":material/inventory_2:")
    st.page_link("pages/build_page.py", label="Build a version", icon=":material/construction:")
    st.stop()
if said := st.session_state.pop("registry_said", ""):
    st.success(said, icon=":material/check_circle:")

wanted = st.query_params.get("model", "")
if wanted and wanted not in models:
    ui.show_warning(f"There is no registered model “{wanted}”. Choose one of these.")
names = list(models)
if st.session_state.get("registry_model") not in names:
    st.session_state["registry_model"] = wanted if wanted in models else names[0]
name = st.selectbox("Model", names, key="registry_model")
with ui.told():
    listed = ui.versions(name)
if not listed:
    st.info(f"{name} has no versions yet.", icon=":material/inventory_2:")
    st.stop()

if wrong := promotion.disagreeing(listed):
    repair = "The alias decides: move a version to its stage again, and the stages follow."
    ui.show_warning(" ".join(wrong) + f" Somebody changed it outside this app. {repair}")
numbers = [version.version for version in listed]
asked = st.query_params.get("version", "") if name == wanted else ""
start = numbers.index(int(asked)) if asked.isdigit() and int(asked) in numbers else 0
if asked and not (asked.isdigit() and int(asked) in numbers):
    ui.show_warning(f"{name} has no version {asked}. The newest is shown.")
event = st.dataframe(
    _table(listed),
    hide_index=True,
    column_config=_COLUMNS,
    on_select="rerun",
    selection_mode="single-row-required",
    selection_default={"selection": {"rows": [start], "columns": [], "cells": []}},
    key=f"registry_versions_{name}_{numbers[0]}_{len(numbers)}",  # rows mean other versions when the list grows
)
rows = event["selection"]["rows"] or [start]
chosen = listed[min(rows[0], len(listed) - 1)]
# The address follows the choice, but not the page's own first one: that would take a second Back to leave.
address = {"model": name, "version": str(chosen.version)}
if (name != names[0] or chosen is not listed[0] or st.query_params) and st.query_params.to_dict() != address:
    st.query_params.from_dict(address)
_detail(chosen, listed)
