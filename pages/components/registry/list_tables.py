"""The tables of the registry's list: a row for each version or model, which opens it, and what is chosen in it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import pandas as pd
import streamlit as st
from streamlit.delta_generator import DeltaGenerator
from streamlit.elements.lib.column_types import ButtonColumnResult, ColumnConfig

from pages.components.shared import ui
from pages.components.shared.escape import in_table, short
from phi3core import tags
from phi3core.registry.models import Version

from . import metric_plot, model_state, navigation, review_state
from .review_state import STATES, ReviewState

_Columns = dict[str, ColumnConfig | ButtonColumnResult | str | None]
_SHOWN = {tags.TOKENS_PER_SECOND: "Tokens/s", tags.FIRST_TOKEN_MS: "First, ms"}
_FORMATS = {"Tokens/s": "%.3g", "First, ms": "%.0f"}  # a slow version's speed is not 0
_HELP = {
    "Tokens/s": "While it answers. Measured when the version was built, on the machine that built it.",
    "First, ms": "Time to the first token. Measured when the version was built, on the machine that built it.",
}


def versions(rows: Sequence[Version], review: ReviewState, sort: str, bar: DeltaGenerator | None) -> None:
    """A row for each version. sort: a metric is shown when it is sorted by. bar: the place for the buttons."""
    refs = [version.ref for version in rows]
    queries = [{"model": version.name, "version": str(version.version)} for version in rows]
    states = [review.of(version) for version in rows]
    table: dict[str, list[object]] = {
        "Version": [version.ref for version in rows],
        "Stage": [_stage(version) for version in rows],
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
        "Wrapper": [in_table(version.wrapper or "–") for version in rows],
        "Owner": [_owner(version) for version in rows],
        "Precision": [in_table(version.precision or "–") for version in rows],
    }
    _warn(rows)
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
    """The buttons for the rows that are ticked."""
    if len(chosen) == 1:
        (version,) = chosen
        query = {"model": version.name, "version": str(version.version)}
        navigation.button(f"Open {short(version.ref)}", ":material/arrow_forward:", "registry_open_ticked", query)
        query = {"ref": version.ref}
        st.page_link("pages/chat_page.py", label="Chat", icon=":material/chat:", query_params=query)
        st.caption("Tick a second one to compare.", width="content")
    elif len(chosen) == 2:
        left, right = sorted(chosen, key=lambda v: (v.stage != "Production", v.name, v.version))
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
    held = [model_state.production(versions) for _, versions in listed]
    staged = [next((v for v in versions if v.stage == "Staging"), None) for _, versions in listed]
    speeds = [version.metrics.get(tags.TOKENS_PER_SECOND) if version else None for version in held]
    waiting = review_state.waiting([name for name, _ in listed])
    table = {
        "Model": [name for name, _ in listed],
        "Production": [[f"/{version.version}"] if version else [] for version in held],
        "Staging": [[f"/{version.version}"] if version else [] for version in staged],
        "Aliases": [_aliases(versions) for _, versions in listed],
        "Waiting": waiting,
        "Versions": [len(versions) for _, versions in listed],
        "Tokens/s": speeds,
        "Newest": [f"/{versions[0].version}" if versions else "–" for _, versions in listed],
        "Owner": [_owner(versions[0]) if versions else "–" for _, versions in listed],
        "Age": [versions[0].created if versions else None for _, versions in listed],
    }
    if not any(waiting):
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


def _warn(rows: Sequence[Version]) -> None:
    """Say it where MLflow's stages say something else than counts."""
    if not (wrong := [version for version in rows if version.contrary_stage]):
        return
    which = wrong[0].ref + (f" (and {len(wrong) - 1} more)" if len(wrong) > 1 else "")
    if any(version.lacks_alias for version in model_state.indexed_versions(wrong[0].name)):
        ui.show_warning(f"MLflow has another version of a higher number in the stage of {which}: that one counts.")
    else:
        ui.show_warning(f"The stage of {which} at MLflow is not what the aliases say. Open it, and the stage follows.")


def _stage(version: Version) -> list[str]:
    """The stage that it is in, and what MLflow says where that is another one."""
    shown = [version.stage] if version.stage != "None" else []
    return [*shown, f"MLflow: {version.contrary_stage}"] if version.contrary_stage else shown


def _owner(version: Version) -> str:
    return in_table(version.owner) if version.owner not in ("", "unknown") else "–"


def _aliases(versions: Sequence[Version]) -> list[str]:
    """All but the reserved ones, with the version that each points at."""
    return [f"@{a} /{v.version}" for v in versions for a in v.aliases if a not in tags.RESERVED_ALIASES]


# ---------------------------------------------------------------- opening a row


def _note_click(key: str, queries: Sequence[Mapping[str, str]]) -> None:
    """Noted at once, so that a run that is cut short loses no press of a button; `navigation.follow` follows it."""
    clicked = st.session_state.get(key)
    if clicked and clicked["row"] < len(queries):
        navigation.go_next(queries[clicked["row"]])


def _columns(first: str, key: str, queries: Sequence[Mapping[str, str]]) -> _Columns:
    stages = {stage: color for stage, color in ui.STAGE_COLORS.items() if stage != "None"}
    stages |= {f"MLflow: {stage}": "red" for stage in ui.STAGE_COLORS}
    return {
        first: st.column_config.ButtonColumn(
            type="tertiary", alignment="left", pinned=True, key=key, on_click=_note_click, args=(key, queries)
        ),
        "Stage": st.column_config.MultiselectColumn(width=95, options=list(stages), color=list(stages.values())),
        "Production": st.column_config.MultiselectColumn(color="green"),
        "Staging": st.column_config.MultiselectColumn(color="orange"),
        "Aliases": st.column_config.MultiselectColumn(width=110, color="primary"),
        "Review": st.column_config.MultiselectColumn(options=list(STATES), color=list(STATES.values())),
        "Size, MB": st.column_config.NumberColumn(format="%,.0f"),
        "Age": st.column_config.DatetimeColumn(format="distance", width=105),
        "Wrapper": st.column_config.TextColumn(width=95),
    }


def _numbers(titles: Iterable[str]) -> _Columns:
    return {
        title: st.column_config.NumberColumn(format=_FORMATS.get(title, "%.4g"), help=_HELP.get(title))
        for title in titles
    }
