"""The answers of an evaluation: prompts down, versions across, with filters and files to take away."""

from __future__ import annotations

import functools
from collections.abc import Sequence

import streamlit as st

from pages.components.shared import ui
from pages.components.shared.escape import as_code, escape, short
from phi3core.evaluation import results
from phi3core.evaluation.results import Evaluation, ScoredAnswer
from phi3core.evaluation.scorers import QUALITY

_PAGE = 10


def show(found: Evaluation) -> None:
    """Draw the filter and a page of the grid."""
    refs = found.run.refs
    st.subheader("Answers", anchor=False)
    filters = ["All"] + [f"Where {ref} lost" for ref in refs[1:]] + ["Where not all that is expected was met"]
    left, middle, right = st.columns([3, 1, 1], vertical_alignment="bottom")
    chosen = left.selectbox("Show", filters, key="evaluate_filter")
    files = ((middle, "CSV", "csv", results.to_csv), (right, "JSONL", "jsonl", results.to_jsonl))
    for column, label, ending, write in files:
        column.download_button(
            label,
            functools.partial(write, found),
            f"answers.{ending}",
            icon=":material/download:",
            width="stretch",
            on_click="ignore",
        )
    items = _filtered(found, filters.index(chosen))
    if not items:
        st.caption("No such item.")
        return
    pages = -(-len(items) // _PAGE)
    page = st.pagination(pages, key="evaluate_page") if pages > 1 else 1
    by_version = [found.of(ref) for ref in refs]
    for item in items[(page - 1) * _PAGE : page * _PAGE]:
        _row(item, [answers.get(item) for answers in by_version])


def _filtered(found: Evaluation, at: int) -> list[str]:
    refs, items = found.run.refs, sorted({answer.item for answer in found.answers})
    if at == 0:
        return items
    if at < len(refs):
        lost = {item for name in QUALITY for item in found.worse(refs[at], refs[0], name)}
        return [item for item in items if item in lost]
    failed = {answer.item for answer in found.answers if any(answer.scores.get(name) is False for name in QUALITY)}
    return [item for item in items if item in failed]


def _row(item: str, answers: Sequence[ScoredAnswer | None]) -> None:
    with st.container(border=True):
        question = next((answer.question for answer in answers if answer is not None), "")
        st.markdown(f"{as_code(item)} {escape(question[:400])}{' …' if len(question) > 400 else ''}")
        for column, answer in zip(st.columns(len(answers)), answers):
            with column:
                if answer is None:
                    st.caption("Not answered.")
                    continue
                st.caption(f"{escape(answer.ref)} {_marks(answer)}")
                if answer.failed:
                    ui.show_error(answer.text)
                else:
                    st.markdown(escape(answer.text) or "*The model said nothing.*")
                for name, words in answer.words.items():
                    verdict = "" if name in answer.scores else "no verdict: "
                    st.caption(f":material/gavel: {name}: {verdict}{short(words, 400)}")


def _marks(answer: ScoredAnswer) -> str:
    """Markdown: what was expected, and whether it was met."""
    marks = []
    for name in QUALITY:
        value = answer.scores.get(name)
        if isinstance(value, bool):
            marks.append(f":green[:material/check: {name}]" if value else f":red[:material/close: {name}]")
        elif value is not None:
            marks.append(f":gray[{name} {value:.0%}]")
    return " ".join(marks)
