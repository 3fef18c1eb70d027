"""The dialog that sets and removes a version's aliases."""

from __future__ import annotations

from functools import partial

import streamlit as st

from pages.components.shared import dialogs, ui
from pages.components.shared.escape import as_code, escape, short
from phi3core import tags
from phi3core.errors import Phi3Error
from phi3core.promotion.promote import delete_alias, set_alias
from phi3core.registry.models import Version

from . import plan_view


@st.dialog("Aliases", icon=":material/alternate_email:")
def show(version: Version, listed: list[Version]) -> None:
    try:
        version, listed = plan_view.as_now(version, listed)
    except Phi3Error as error:
        ui.show_error(str(error))
        return
    st.markdown(f"An alias points at one version. **{short(version.ref)}** has {ui.alias_badges(version) or 'none'}.")
    # Live, so that the button can be pressed as soon as the text is typed.
    typed = st.text_input("Set an alias", placeholder="champion", key="alias_name", live=True)
    alias = typed.strip().removeprefix("@")
    holder = next((v for v in listed if alias in v.aliases and v.version != version.version), None)
    if alias:
        leaves = f"leaves {short(holder.ref)} and " if holder else ""
        st.markdown(f"- {as_code('@' + alias)} {leaves}points at {short(version.ref)} from then on.")
    reason = dialogs.reason_input("alias_reason", version.ref)
    if st.button("Set alias", type="primary", disabled=not alias, key="alias_set", width="stretch"):
        dialogs.run(lambda: _set(version, alias, reason), "alias_reason")
    for own in version.aliases:
        if own in tags.RESERVED_ALIASES:
            continue
        st.markdown(f"- Without @{escape(own)}, whoever asks for {short(version.name)}@{escape(own)} gets an error.")
        label = f"Remove @{escape(own)}"
        if st.button(label, icon=":material/delete:", key=f"alias_remove_{own}", width="stretch"):
            dialogs.run(partial(_remove, version, own, reason), "alias_reason")


def _set(version: Version, alias: str, reason: str) -> str:
    set_alias(ui.config(), version.ref, alias, reason, ui.person())
    return f"@{alias} now points at {version.ref}."


def _remove(version: Version, alias: str, reason: str) -> str:
    delete_alias(ui.config(), version.name, alias, reason, ui.person())
    return f"@{alias} is removed."
