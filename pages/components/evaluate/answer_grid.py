"""The answers of an evaluation: prompts down, versions across, with filters and files to take away."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence

import streamlit as st

from pages.components.shared import ui
from pages.components.shared.escape import as_code, escape, short
from phi3core.evaluation import results
from phi3core.evaluation.results import Evaluation, ScoredAnswer
from phi3core.evaluation.scorers import QUALITY

from .words import TITLES

_PAGE = 10
_ALL = "All"
_FILTER = "evaluate_filter"  # of session_state, and of the box


def show(found: Evaluation) -> None:
    """Draw the filters and a page of the grid."""
    st.subheader("Answers", anchor=False)
    filters = _filters(found)
    left, between, middle, right = st.columns([3, 2, 1, 1], vertical_alignment="bottom")
    if st.session_state.get(_FILTER) not in filters:
        st.session_state[_FILTER] = _ALL
    chosen = left.selectbox(
        "Show", list(filters), key=_FILTER, format_func=lambda name: f"{name} ({len(filters[name])})"
    )
    text = between.text_input("Find", key="evaluate_find", icon=":material/search:").casefold().strip()
    files = ((middle, "CSV", "csv", results.to_csv), (right, "JSONL", "jsonl", results.to_jsonl))
    for column, name, ending, write in files:
        column.download_button(
            name,
            functools.partial(write, found),
            f"answers.{ending}",
            icon=":material/download:",
            width="stretch",
            on_click="ignore",
        )
    items = [item for item in filters[chosen] if not text or _holds(found, item, text)]
    if not items:
        st.caption("No such item.")
        return
    pages = -(-len(items) // _PAGE)
    page = st.pagination(pages, key="evaluate_page") if pages > 1 else 1
    rows(found, items[(page - 1) * _PAGE : page * _PAGE])


def rows(found: Evaluation, items: Sequence[str]) -> None:
    """Draw the versions' answers to some items."""
    by_version = [found.of(ref) for ref in found.run.refs]
    for item in items:
        _row(item, [answers.get(item) for answers in by_version])


def choose(name: str) -> None:
    """Have the grid show what a filter leaves."""
    st.session_state[_FILTER] = name


def label(ref: str, word: str, scorer: str) -> str:
    """The filter for the items on which a version is better or worse than the first by a scorer. word: which."""
    return f"Where {ref} is {word}: {TITLES[scorer]}"


def _filters(found: Evaluation) -> dict[str, list[str]]:
    """The items that each filter leaves, by its name; those that leave none are left out."""
    first, *others = found.run.refs
    wanted: dict[str, set[str]] = {}
    for ref in others:
        by_name = {name: (set(found.worse(ref, first, name)), set(found.worse(first, ref, name))) for name in QUALITY}
        wanted[f"Where {ref} lost"] = set().union(*(worse for worse, _ in by_name.values()))
        wanted[f"Where {ref} won"] = set().union(*(better for _, better in by_name.values()))
        for name, (worse, better) in by_name.items():
            wanted[label(ref, "worse", name)], wanted[label(ref, "better", name)] = worse, better
    by_answer: tuple[tuple[str, Callable[[ScoredAnswer], bool]], ...] = (
        ("Where not all that is expected was met", lambda one: any(one.scores.get(n) is False for n in QUALITY)),
        ("Where an answer failed", lambda one: one.failed),
        ("Where a judge gave no verdict", lambda one: bool(one.words.keys() - one.scores.keys())),
    )
    for name, meets in by_answer:
        wanted[name] = {answer.item for answer in found.answers if meets(answer)}
    return {_ALL: found.items} | {name: sorted(items) for name, items in wanted.items() if items}


def _holds(found: Evaluation, item: str, text: str) -> bool:
    answers = [own[item] for own in map(found.of, found.run.refs) if item in own]
    return text in item or any(text in one.question.casefold() or text in one.text.casefold() for one in answers)


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
