"""Warnings about the record: deleted, edited or incomplete; and the promotions that are under way."""

from __future__ import annotations

from collections.abc import Sequence

import streamlit as st

from pages.components.shared import dialogs, live_part, reads, ui
from pages.components.shared.escape import escape, short
from phi3core.errors import Phi3Error
from phi3core.promotion.reconcile import Reconciliation, reconcile
from phi3core.promotion.record import search, writer
from phi3core.promotion.record.model import Record
from phi3core.settings import Settings

from . import record_reads
from .record_reads import Filter

_SHOWN = 5  # of what is under way


def show(model: str) -> None:
    """Of one model, or of all where model is empty; nothing is drawn where all is well."""
    try:
        if record_reads.state() == "deleted":
            _deleted()
        if model:
            _of_one(model, reads.wait_for("Looking at the model …", reconcile, ui.config(), model))
        else:
            _of_all()
    except Phi3Error as error:
        ui.show_error(str(error))


def _deleted() -> None:
    ui.show_error(
        "The record was deleted: its experiment in MLflow is in the bin. Until it is restored, nothing can be promoted "
        "and what is shown here may be incomplete."
    )
    if ui.person().may("admin"):
        if st.button("Restore the record", icon=":material/restore_from_trash:", key="record_restore"):
            restore()
    else:
        st.caption("An admin can restore it here.")


@st.dialog("Restore the record", icon=":material/restore_from_trash:")
def restore() -> None:
    dialogs.bullets(
        [
            "The deleted experiment comes back with all its records, and promotions work again.",
            "That it was restored, and by whom, is recorded.",
        ]
    )
    if st.button("Restore", type="primary", key="record_restore_confirm", width="stretch"):
        dialogs.run(_restore)


def _restore() -> str:
    writer.restore(ui.config(), ui.person())
    return "The record is back."


def _of_one(model: str, look: Reconciliation) -> None:
    for sentence in look.messages:
        ui.show_warning(sentence)
    # A look reads the newest records only.
    whole = _verified((model,)) if look.records_state != "deleted" else []
    if wrong := [*look.damage, *(sentence for sentence in whole if sentence not in look.damage)]:
        damage(wrong)
    _under_way(look.in_flight)


def damage(sentences: Sequence[str]) -> None:
    """Say what was changed in a record from outside."""
    listed = "\n".join(f"- {escape(sentence)}" for sentence in sentences[:10])
    more = f"\n- and {len(sentences) - 10:,} more" if len(sentences) > 10 else ""
    st.error(f"**The record was tampered with.**\n{listed}{more}", icon=":material/gpp_bad:")


def _of_all() -> None:
    """What is under way, and what is wrong with the records of the models that something was done to last."""
    if wrong := _verified(
        tuple(sorted({record.model for record in record_reads.page(Filter()).records if record.model}))
    ):
        damage(wrong)
    _under_way(record_reads.page(Filter(status="open"), limit=_SHOWN + 1).records)


def _verified(models: tuple[str, ...]) -> list[str]:
    """What is wrong with all records of the models, as far as it is known: every one is read, in the background."""
    state = _verification(models, 0.3)
    if state.value is None and state.pending:
        live_part.draw(_await, models, every=1.0)
    return state.value or []


def _verification(models: tuple[str, ...], patience: float) -> reads.Reading[list[str]]:
    return reads.latest(_verify, ui.config(), models, max_age=60, patience=patience)


def _verify(config: Settings, models: tuple[str, ...]) -> list[str]:
    # The records of no model tell where those of all models were deleted at once.
    return [sentence for name in (*models, "") for sentence in search.verify(config, name)]


def _await(by_itself: bool, models: tuple[str, ...]) -> None:
    """The page is drawn anew once it is known."""
    if by_itself and not _verification(models, 0).pending:
        st.rerun()


def _under_way(listed: Sequence[Record]) -> None:
    for record in listed[:_SHOWN]:
        what = f"**{short(record.ref)}** · {short(record.action)} {short(record.new)}"
        st.info(f"{what}: under way, begun by {short(record.user)} {ui.ago(record.started)}.", icon=":material/sync:")
    if len(listed) > _SHOWN:
        st.caption("and more, in the record under the status “open”.")
