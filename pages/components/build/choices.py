"""At which precisions a source is built: several make a version each, and the default says why it is one."""

from __future__ import annotations

from collections.abc import Sequence

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from pages.components.shared import ui
from pages.components.shared.escape import escape
from phi3core.build import ladder
from phi3core.build.convert import BLOCK, BLOCKS
from phi3core.build.spec import PRECISIONS
from phi3core.registry.index import get_index

from .inspection_view import Look

_NAMES = {"onnx": "ONNX", "transformers": "Transformers"}


def show(
    place: DeltaGenerator, wrappers: Sequence[str], kind: str, source: str, look: Look | None
) -> tuple[list[str], list[int]]:
    """The boxes, and what is chosen in them: precisions, and sizes of blocks.

    Args:
        kind: of the source, as the page names it. source: as it is written there.
        look: the last one at this source, where there is one.
    """
    chosen: list[str] = []
    blocks = [BLOCK]
    versions = get_index(ui.config()).search(per_page=10_000).versions
    parameters = look.found.parameters if look and look.found else None
    with place:
        for wrapper in wrappers:
            choice = ladder.choose_precision(wrapper, source, versions, parameters)
            chosen += st.multiselect(
                f"Precision of {_NAMES[wrapper]}" if len(wrappers) > 1 else "Precision",
                list(PRECISIONS[wrapper]),
                default=[choice.precision],
                key=f"build_precision_{wrapper}_{kind}",
                help="Fewer bits: smaller, faster, less exact. Each makes a version, from one download. Weights that "
                "are ONNX already stay as published.",
            )
            st.caption(f"By default {choice.precision}. {escape(choice.why)}")
        if "onnx" in wrappers:
            title, hint = "Numbers that share a scale at 4 bits", "Smaller blocks: more exact and larger."
            blocks = st.multiselect(title, list(BLOCKS), default=[BLOCK], key="build_blocks", help=hint)
    return chosen, blocks
