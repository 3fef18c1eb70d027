"""A source looked at before it is built: while it is, and what was found."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial

import streamlit as st

from pages.components.shared import reads, ui
from pages.components.shared.escape import as_code, escape, short
from phi3core.build import inspection
from phi3core.build.inspection import Inspection, Outlook
from phi3core.build.sources.source import parse_source
from phi3core.build.spec import BuildSpec
from phi3core.errors import BadInput, BaseNeeded, Phi3Error

_NAMES = {"onnx": "ONNX", "transformers": "Transformers"}
_KEY = "build_look"
_FRESH = 60.0  # seconds; a source that nothing can be built of is looked at anew each time


@dataclass(frozen=True)
class Look:
    """A source that was looked at. found: None where nothing can be built of it; problem says why then.

    refusal: why the build by this wrapper that was asked for was not started; empty where none was, or where it was.
    """

    source: str
    wrapper: str
    found: Inspection | None = None
    problem: str = ""
    base_needed: bool = False
    refusal: str = ""

    @property
    def adapter(self) -> bool:
        return self.base_needed or bool(self.found and self.found.base)


def look_at(spec: BuildSpec, to_build: bool) -> bool:
    """Look at a build's source while a spinner says so, and keep what was found.

    Args:
        spec: the build, validated.
        to_build: whether it is to be started where it can be made.

    Returns:
        Whether it can be made.
    """
    words = f"Looking at the configuration of {as_code(spec.source)} and not at its weights …"
    try:
        asked = (spec.source, spec.base)
        stop = partial(inspection.stop_looking, *asked)
        ask = partial(reads.read, words, inspection.inspect_apart, *asked, max_age=_FRESH)
        found: Inspection = ask(stop="build_stop_looking", on_stop=stop)
    except Phi3Error as error:
        needed = isinstance(error, BaseNeeded)
        st.session_state[_KEY] = Look(spec.source, spec.wrapper, problem=str(error), base_needed=needed)
        return False
    refusal = found.refusal(spec.wrapper, spec.signature)
    st.session_state[_KEY] = Look(spec.source, spec.wrapper, found, refusal=refusal if to_build else "")
    return not refusal


def forget() -> None:
    """Show what was found no longer: its build has started."""
    st.session_state.pop(_KEY, None)


def last_look(source: str) -> Look | None:
    """The last look, where it was at this source, as a person has written it."""
    look: Look | None = st.session_state.get(_KEY)
    with suppress(BadInput):
        return look if look and look.source == str(parse_source(source)) else None
    return None


def show(look: Look, wrappers: Sequence[str]) -> None:
    """What was found, and why nothing was started where a build by a wrapper that is chosen now was asked for."""
    refusal = look.refusal if look.wrapper in wrappers else ""
    if look.problem or refusal:
        ui.show_error(look.problem or f"Nothing was started. {refusal}")
    if (found := look.found) is None:
        return
    with st.container(border=True, key="build_inspection"):
        below = f" :gray[· an adapter of] {as_code(found.base)}" if found.base else ""
        st.markdown(f":material/search: **{as_code(found.source)}**{below}")
        st.markdown(" :gray[·] ".join(_facts(found)))
        for outlook in found.outlooks:
            if not refusal or outlook.problem != refusal:  # said above
                _show_outlook(outlook, found)


def _facts(found: Inspection) -> list[str]:
    facts = [
        f"**{short(found.architecture)}**",
        _count(found.parameters),
        f"{ui.size(found.size)} of weights",
        f"context {found.context:,} tokens" if found.context else "context not told",
        f"licence {short(found.licence)}",
        "chat template" if found.template else "no chat template",
        f"revision {as_code(found.revision[:12])}" if found.revision else "",
    ]
    return [fact for fact in facts if fact]


def _count(numbers: int | None) -> str:
    if not numbers:
        return ""
    return f"{numbers / 1e9:,.1f} billion parameters" if numbers >= 1e9 else f"{numbers / 1e6:,.1f} million parameters"


def _show_outlook(outlook: Outlook, found: Inspection) -> None:
    name = _NAMES[outlook.wrapper]
    if outlook.problem:
        st.markdown(f":red[:material/block:] **{name}** :gray[can't:] {escape(outlook.problem)}")
        return
    needs = [_need("disk", outlook.disk, found.disk_free), _need("memory", outlook.memory, found.memory_free)]
    icon = ":green[:material/check_circle:]"
    if outlook.disk > found.disk_free or outlook.memory > found.memory_free:
        icon = ":orange[:material/warning:]"
    st.markdown(f"{icon} **{name}:** {escape(outlook.makes)} :gray[Needs about] {' :gray[and] '.join(needs)}.")


def _need(what: str, needed: int, free: int) -> str:
    words = f"{ui.size(needed)} of {what} ({ui.size(free)} free)"
    return f":orange[**{words}**]" if needed > free else f":gray[{words}]"
