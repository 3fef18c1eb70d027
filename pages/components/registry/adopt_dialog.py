"""The offer to adopt what MLflow's stages say of a model that has no reserved alias, and the dialog that does it."""

from __future__ import annotations

from collections.abc import Sequence

import streamlit as st

from pages.components.shared import dialogs, store_reads, ui
from pages.components.shared.escape import as_code, short
from phi3core.errors import Phi3Error
from phi3core.promotion.adopt import adopt
from phi3core.registry.models import Version
from phi3core.store.client import Abilities
from phi3core.text import join_words


def offer(listed: Sequence[Version], able: Abilities) -> None:
    """Say that only MLflow's stages put versions where they are, and offer to adopt it. listed: all of the model."""
    found = [version for version in listed if version.lacks_alias] if able.aliases else []
    if not found:
        return
    places = join_words(f"**{short(version.ref)}** in {version.stage}" for version in found)
    with st.container(horizontal=True, vertical_alignment="center", border=True, key="version_adopt"):
        st.markdown(
            f":material/info: MLflow’s stages alone put {places}. It counts everywhere, but no alias holds it and no "
            "record tells of it: a rollback could not come back to it.",
            width="stretch",
        )
        if ui.person().may("releaser"):
            if st.button("Adopt", icon=":material/verified:", key="registry_adopt"):
                _show(found[0].name)
        else:
            st.caption("A releaser can adopt it.", width="content")


@st.dialog("Adopt MLflow’s stages", icon=":material/verified:")
def _show(name: str) -> None:
    try:
        listed = store_reads.versions(name)
    except Phi3Error as error:
        ui.show_error(str(error))
        return
    lines = _sentences(listed)
    st.markdown("\n".join(["**What will change**", "", *(f"- {line}" for line in lines)]))
    reason = dialogs.reason_input("adopt_reason", name)
    pressed = st.button("Adopt", type="primary", key="adopt_confirm", width="stretch")
    if dialogs.still_as_shown("adopt_shown", name, lines, pressed):
        dialogs.run(lambda: _adopt(name, reason), "adopt_reason")


def _sentences(listed: Sequence[Version]) -> list[str]:
    """Markdown, one thing that happens a line."""
    found = [
        f"**{short(version.ref)}** gets {as_code(f'@{version.stage.lower()}')}, and stays in "
        f"{ui.stage_badge(version.stage)}."
        for version in listed
        if version.lacks_alias
    ]
    found += [
        f"**{short(version.ref)}** leaves MLflow’s {version.contrary_stage}, where it is not the highest number."
        for version in listed
        if version.contrary_stage
    ]
    return [
        *found,
        "From then on the aliases decide, and the stages follow them.",
        "It is recorded with your name and reason, as a promotion.",
    ]


def _adopt(name: str, reason: str) -> str:
    done = adopt(ui.config(), name, reason, ui.person())
    return join_words(f"{version.ref} is in {version.stage}, by its alias" for version in done) + "."
