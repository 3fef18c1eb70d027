"""Compare: one prompt, or a conversation going on, to several versions side by side, and blind votes on the answers."""

import streamlit as st

from pages.components.compare import rounds, start
from pages.components.shared import reads, ui
from phi3core.errors import BadInput, NotFound
from phi3core.evaluation import comparison
from phi3core.evaluation.comparison import Comparison


def _in_address() -> Comparison | None:
    """The comparison, or the replay, that the address names; None where it names none that is there."""
    query = st.query_params.to_dict()
    read = comparison.load if "c" in query else comparison.load_replay
    id = query.get("c", query.get("replay", ""))
    if not id:
        return None
    try:
        return reads.wait_for("Reading the comparison …", read, ui.config(), ui.servers(), id, me)
    except (NotFound, BadInput) as error:
        ui.show_warning(str(error))
        return None


me = ui.person()
st.title("Compare", anchor=False)
with ui.stop_on_error():
    found = _in_address()
if found is None:
    start.show(me)
else:
    rounds.show(found, me)
