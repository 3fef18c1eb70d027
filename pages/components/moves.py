"""The dialogs that change the registry: each says exactly what will happen before it does."""

from __future__ import annotations

import streamlit as st

from pages.components import ui
from phi3core import keys, promotion
from phi3core.errors import Phi3Error
from phi3core.registry import Version


@st.dialog("Move to a stage", icon=":material/verified:")
def move(version: Version, all_versions: list[Version]) -> None:
    st.markdown(f"**{version.ref}** is in {ui.stage_badge(version.stage)}")
    # A stage without its alias is none of ours: moving it to where it seems to be gives it the alias.
    settled = version.stage not in keys.RESERVED_ALIASES.values() or version.stage.lower() in version.aliases
    order = ("Production", "Staging", "Archived", "None")
    others = [stage for stage in order if stage != version.stage or not settled]
    stage = st.radio("Move it to", others, horizontal=True, key="move_stage")
    st.markdown("\n".join(f"- {line}" for line in _consequences(version, stage, all_versions)))
    reason = st.text_input("Reason", placeholder="why, for the record", key="move_reason")
    if st.button(f"Move to {stage}", type="primary", key="move_confirm", width="stretch"):
        _do(lambda: promotion.promote(ui.config(), version.ref, stage, reason), f"{version.ref} is now in {stage}.")


@st.dialog("Aliases", icon=":material/alternate_email:")
def aliases(version: Version, all_versions: list[Version]) -> None:
    st.markdown(f"An alias points at one version. **{version.ref}** has {ui.alias_badges(version) or 'none'}.")
    alias = st.text_input("Set an alias", placeholder="champion", key="alias_name").strip().removeprefix("@")
    holder = next((v for v in all_versions if alias in v.aliases and v.version != version.version), None)
    if alias:
        leaves = f"leaves {holder.ref} and " if holder else ""
        st.markdown(f"- {ui.code('@' + alias)} {leaves}points at {version.ref} from then on.")
    if st.button("Set alias", type="primary", disabled=not alias, key="alias_set", width="stretch"):
        _do(lambda: promotion.set_alias(ui.config(), version.ref, alias), f"@{alias} now points at {version.ref}.")
    for own in version.aliases:
        if own in keys.RESERVED_ALIASES:
            continue
        st.markdown(f"- Without @{own}, whoever asks for {version.name}@{own} gets an error.")
        if st.button(f"Remove @{own}", icon=":material/delete:", key=f"alias_remove_{own}", width="stretch"):
            _do(lambda own=own: promotion.delete_alias(ui.config(), version.name, own), f"@{own} is removed.")


def _consequences(version: Version, stage: str, all_versions: list[Version]) -> list[str]:
    lines = []
    if stage in keys.RESERVED_ALIASES.values():
        holder = next((v for v in all_versions if stage.lower() in v.aliases and v.version != version.version), None)
        if holder:
            lines.append(f"{holder.ref}, in {stage} now, is archived.")
        lines.append(f"{version.name}/{stage} and @{stage.lower()} mean {version.ref} from then on.")
    if version.stage in keys.RESERVED_ALIASES.values() and version.stage != stage:
        lines.append(f"**No version is in {version.stage} any more**, until another is moved there.")
    return [*lines, "The move is recorded with your name and reason."]


def _do(change: object, said: str) -> None:
    try:
        with st.spinner("Changing the registry …"):
            change()  # type: ignore[operator]
    except Phi3Error as error:
        ui.show_error(str(error))
        return
    finally:
        ui.forget()
    st.session_state["registry_said"] = said
    st.rerun()
