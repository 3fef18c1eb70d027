"""The tables of the registry's list: a row for each version or model, which opens it, and what is chosen in it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pandas as pd
import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from pages.components.shared import later, reading, ui
from pages.components.shared.escape import short
from phi3core import tags
from phi3core.promotion.policy import requests
from phi3core.promotion.policy.requests import Request
from phi3core.registry.models import Version
from phi3core.traces import feedback

from . import metric_plot, navigation

_SHOWN = {tags.TOKENS_PER_SECOND: "Tokens/s", tags.FIRST_TOKEN_MS: "First, ms"}
_HELP = {
    "Tokens/s": "While it answers. Measured when the version was built, on the machine that built it.",
    "First, ms": "Time to the first token. Measured when the version was built, on the machine that built it.",
}
_STATES = {"asked": "orange", "approved": "green"}


def versions(rows: Sequence[Version], sort: str, bar: DeltaGenerator | None) -> None:
    """A row for each version. sort: a metric is shown when it is sorted by. bar: where what can be done is offered."""
    refs = [version.ref for version in rows]
    queries = [{"model": version.name, "version": str(version.version)} for version in rows]
    states = _review_states(rows)
    table: dict[str, list[object]] = {
        "Version": [version.ref for version in rows],
        "Stage": [[version.effective_stage] if version.effective_stage != "None" else [] for version in rows],
        "Aliases": [[f"@{a}" for a in version.aliases if a not in tags.RESERVED_ALIASES] for version in rows],
    }
    if any(states):
        table["Review"] = [*states]
    metrics = dict(_SHOWN)
    if sort in {name for version in rows for name in version.metrics} and sort not in metrics:
        metrics[sort] = metric_plot.title(sort)
    table |= {title: [version.metrics.get(metric) for version in rows] for metric, title in metrics.items()}
    table |= {
        "Size, MB": [version.size / 1e6 if version.size else None for version in rows],
        "Age": [version.created for version in rows],
        "Wrapper": [version.wrapper or "–" for version in rows],
        "Owner": [_owner(version) for version in rows],
        "Precision": [version.precision or "–" for version in rows],
    }
    if wrong := [version for version in rows if version.effective_stage != version.stage]:
        which = short(wrong[0].ref) + (f" (and {len(wrong) - 1} more)" if len(wrong) > 1 else "")
        told = f"The stage of {which} at MLflow is not what the aliases say. Open it, and the stage follows."
        ui.show_warning(told)
    event = st.dataframe(
        pd.DataFrame(table),
        hide_index=True,
        height="content",
        row_height=34,
        column_config=_columns("Version", "registry_open", queries) | _numbers(metrics.values()),
        on_select="rerun",
        selection_mode="multi-row",
        key=f"registry_versions_{hash(tuple(refs))}",  # rows mean other versions when the list changes
        placeholder="–",
        alt="Versions",
    )
    chosen = [rows[at] for at in event["selection"]["rows"] if at < len(rows)]
    if bar is not None:
        with bar:
            _offer(chosen)


def _offer(chosen: Sequence[Version]) -> None:
    """What can be done with the rows that are ticked."""
    if len(chosen) == 1:
        (version,) = chosen
        query = {"model": version.name, "version": str(version.version)}
        navigation.button(f"Open {short(version.ref)}", ":material/arrow_forward:", "registry_open_ticked", query)
        query = {"ref": version.ref}
        st.page_link("pages/chat_page.py", label="Chat", icon=":material/chat:", query_params=query)
        st.caption("Tick a second one to compare.", width="content")
    elif len(chosen) == 2:
        left, right = sorted(chosen, key=lambda v: ("production" not in v.aliases, v.name, v.version))
        query = {"compare": left.ref, "with": right.ref}
        label = f"Compare {short(left.ref)} with {short(right.ref)}"
        navigation.button(label, ":material/compare_arrows:", "registry_compare_ticked", query)
    elif chosen:
        st.caption(f"{len(chosen)} ticked: two can be compared.", width="content")
    else:
        st.caption("Tick two to compare them.", width="content")


def models(listed: Sequence[tuple[str, Sequence[Version]]]) -> None:
    """A row for each model, with all its versions, newest first."""
    queries = [{"model": name} for name, _ in listed]
    held = [reading.production(versions) for _, versions in listed]
    staged = [next((v for v in versions if "staging" in v.aliases), None) for _, versions in listed]
    speeds = [version.metrics.get(tags.TOKENS_PER_SECOND) if version else None for version in held]
    table = {
        "Model": [name for name, _ in listed],
        "Production": [[f"/{version.version}"] if version else [] for version in held],
        "Staging": [[f"/{version.version}"] if version else [] for version in staged],
        "Aliases": [_aliases(versions) for _, versions in listed],
        "Waiting": _waiting([name for name, _ in listed]),
        "Versions": [len(versions) for _, versions in listed],
        "Tokens/s": speeds,
        "Newest": [f"/{versions[0].version}" if versions else "–" for _, versions in listed],
        "Owner": [_owner(versions[0]) if versions else "–" for _, versions in listed],
        "Age": [versions[0].created if versions else None for _, versions in listed],
    }
    if not any(table["Waiting"]):
        del table["Waiting"]
    st.dataframe(
        pd.DataFrame(table),
        hide_index=True,
        height="content",
        row_height=34,
        column_config=_columns("Model", "registry_open_model", queries) | _numbers(["Tokens/s"]),
        key=f"registry_models_{hash(tuple(name for name, _ in listed))}",
        placeholder="–",
        alt="Models",
    )


def _owner(version: Version) -> str:
    return version.owner if version.owner not in ("", "unknown") else "–"


def _aliases(versions: Sequence[Version]) -> list[str]:
    """All but the reserved ones, with the version that each points at."""
    return [f"@{a} /{v.version}" for v in versions for a in v.aliases if a not in tags.RESERVED_ALIASES]


# ---------------------------------------------------------------- opening a row


def _note_click(key: str, queries: Sequence[Mapping[str, str]]) -> None:
    """Noted at once, so that a run that is cut short loses no press of a button; `going.on` follows it."""
    clicked = st.session_state.get(key)
    if clicked and clicked["row"] < len(queries):
        navigation.note(queries[clicked["row"]])


def _columns(first: str, key: str, queries: Sequence[Mapping[str, str]]) -> dict[str, object]:
    stages = {stage: color for stage, color in ui.STAGE_COLORS.items() if stage != "None"}
    return {
        first: st.column_config.ButtonColumn(
            type="tertiary", alignment="left", pinned=True, key=key, on_click=_note_click, args=(key, queries)
        ),
        "Stage": st.column_config.MultiselectColumn(width=95, options=list(stages), color=list(stages.values())),
        "Production": st.column_config.MultiselectColumn(color="green"),
        "Staging": st.column_config.MultiselectColumn(color="orange"),
        "Aliases": st.column_config.MultiselectColumn(width=110, color="primary"),
        "Review": st.column_config.MultiselectColumn(options=list(_STATES), color=list(_STATES.values())),
        "Size, MB": st.column_config.NumberColumn(format="%,.0f"),
        "Age": st.column_config.DatetimeColumn(format="distance", width=105),
        "Wrapper": st.column_config.TextColumn(width=95),
    }


def _numbers(titles: Iterable[str]) -> dict[str, object]:
    whole = set(_SHOWN.values())
    return {
        title: st.column_config.NumberColumn(format="%.0f" if title in whole else "%.4g", help=_HELP.get(title))
        for title in titles
    }


# ---------------------------------------------------------------- review state


def _review_states(rows: Sequence[Version]) -> list[list[str]]:
    """For each version what waits for a decision, and how often it was judged: two questions for all rows together.

    Where the answers are known nobody asks again now, when the page has more to do: `review_ask` does that later.
    """
    asked, judged = later.known(_waiting_key()) or _asked(), later.known(_judged_key()) or _judged()
    _when_known([asked, judged])
    waiting = {(request.model, request.version): request.status for request in asked.value or ()}
    counts = judged.value or {}
    said = []
    for version in rows:
        status = waiting.get((version.name, version.version))
        state = [] if status is None else ["approved" if status == "approved" else "asked"]
        if count := counts.get(version.ref):
            state.append(f"{count} review{'s' if count > 1 else ''}")
        said.append(state)
    return said


def review_known() -> tuple[object, ...]:
    """What is known of all versions' review states."""
    found = later.known(_waiting_key()), later.known(_judged_key())
    return tuple(state and state.value for state in found)


def review_ask() -> None:
    """Have it asked for anew in the background, where it is not of just now."""
    _asked(0)
    _judged(0)


def _waiting(names: Sequence[str]) -> list[list[str]]:
    """For each model, how many requests wait."""
    asked = _asked()
    _when_known([asked])
    models = [request.model for request in asked.value or ()]
    return [[f"{models.count(name)} asked"] if name in models else [] for name in names]


def _waiting_key() -> tuple[str, str]:
    return "waiting", ui.config().tracking_uri


def _judged_key() -> tuple[str, str]:
    return "judged", ui.config().tracking_uri


def _asked(wait: float = 0.15) -> later.State[Sequence[Request]]:
    config = ui.config()
    return later.state(_waiting_key(), lambda: requests.waiting(config), fresh=5, wait=wait)


def _judged(wait: float = 0.15) -> later.State[Mapping[str, int]]:
    config = ui.config()
    return later.state(_judged_key(), lambda: feedback.count_reviews(config), fresh=30, wait=wait)


def _when_known(states: Sequence[later.State[Any]]) -> None:
    """Nobody waits long for them: where they are not known yet, the list is drawn anew when they are."""
    if any(state.value is None and state.busy for state in states):
        _await()


@st.fragment(run_every=0.7)
def _await() -> None:
    if not (_asked(0).busy or _judged(0).busy):
        st.rerun()
