"""What a version's page tells under its tabs. Each part reads what it needs when its tab is opened, and only then."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime

import pandas as pd
import streamlit as st

from pages.components.build.build_log import show_run
from pages.components.chat import code_snippets
from pages.components.promotions import record_list
from pages.components.shared import later, links, reading, ui
from pages.components.shared.escape import literal, short
from pages.components.shared.waiting import patiently
from phi3core import tags
from phi3core.errors import Phi3Error
from phi3core.markdown import safe_markdown
from phi3core.promotion.record import search
from phi3core.registry import artifacts, filelist, reader, signature
from phi3core.registry.models import Version, VersionDetails
from phi3core.store.client import hide_password
from phi3core.traces import feedback
from phi3core.traces.feedback import Reviews

from . import metric_plot, navigation, version_edit

_FRESH = 20  # seconds that a part is kept
_TAG_NAMES = {
    tags.SOURCE: "Source",
    tags.REVISION: "Revision",
    tags.PRECISION: "Precision",
    tags.LICENCE: "Licence",
    tags.ORIGIN_VERSION: "Copied from",
    tags.ORIGIN_STORE: "Copied from the store",
    tags.ORIGIN_USER: "Copied by",
    tags.ORIGIN_TIME: "Copied at",
}


@contextmanager
def told() -> Iterator[None]:
    """One of our errors as its sentence in the place of the part that failed; the rest of the page stands."""
    try:
        yield
    except Phi3Error as error:
        ui.show_error(str(error))


def _key(part: str, version: Version) -> tuple[str, ...]:
    """By reference and source: a version deleted and made again under the same number is another one."""
    return part, ui.config().tracking_uri, version.ref, version.source


def read_detail(version: Version) -> VersionDetails:
    config = ui.config()
    found = later.kept(
        _key("detail", version), "Reading the version …", lambda: reader.get_details(config, version), 600
    )
    if found.mlmodel_error:
        later.drop(_key("detail", version))  # the store may have it the next time
    return found


# ---------------------------------------------------------------- overview


def overview(version: Version) -> None:
    if version.description:
        st.markdown(safe_markdown(version.description))
    else:
        st.caption("No description yet.")
    with told():
        detail = read_detail(version)
        if detail.mlmodel_error:
            ui.show_warning(detail.mlmodel_error)
        else:
            st.markdown(literal(signature.describe_signature(detail.signature)))
    own = {key: value for key, value in sorted(version.tags.items()) if not key.startswith("phi3.")}
    if own:
        st.markdown(" ".join(f":gray-badge[{short(_tag(key, value))}]" for key, value in own.items()))
    rows = {"Wrapper": version.wrapper or "not one of ours"}
    rows |= {name: version.tags[key] for key, name in _TAG_NAMES.items() if version.tags.get(key)}
    rows |= {"Registered": f"{version.created:%Y-%m-%d %H:%M} UTC", "Logged model": version.source}
    ui.show_table({name: literal(value) for name, value in rows.items()})
    with st.container(horizontal=True, vertical_alignment="center"):
        _edits(version)
        _trail(version)


def _tag(key: str, value: str) -> str:
    return f"{key}: {value}" if value else key


def _edits(version: Version) -> None:
    if not version_edit.may():
        return
    if st.button("Edit the description", icon=":material/edit:", type="tertiary", key="version_describe"):
        reading.hold()
        version_edit.description(version)
    if st.button("Edit tags", icon=":material/sell:", type="tertiary", key="version_tags"):
        reading.hold()
        version_edit.tags(version)


def _trail(version: Version) -> None:
    """Where it comes from: the run that made it, and the version that it was copied from."""
    origin = version.tags.get(tags.ORIGIN_VERSION, "")
    address = ui.config().tracking_uri
    here = version.tags.get(tags.ORIGIN_STORE) == hide_password(address, address)
    if version.run_id:
        with told():
            show_run(read_detail(version).experiment_id, version.run_id)
    else:
        st.caption("It was registered without a run.")
    if origin and here:
        name, _, number = origin.rpartition("/")
        query = {"model": name, "version": number}
        label = f"Copied from {short(origin)}"
        navigation.button(label, ":material/content_copy:", "version_origin", query)


# ---------------------------------------------------------------- signature and parameters


def takes(version: Version) -> None:
    with told():
        detail = read_detail(version)
        if detail.mlmodel_error:
            ui.show_warning(detail.mlmodel_error)
            return
        st.markdown(literal(signature.describe_signature(detail.signature)))
        parts = (("Inputs", "inputs", signature.describe_column), ("Outputs", "outputs", signature.describe_column))
        for title, part, words in (*parts, ("Options", "params", signature.describe_param)):
            if columns := detail.signature.get(part):
                st.markdown(f"**{title}**\n" + "\n".join(f"- {literal(words(column))}" for column in columns))
        if detail.options:
            st.markdown("**Generation options it was logged with**")
            ui.show_table({name: literal(str(value)) for name, value in sorted(detail.options.items())})
        st.markdown("**Parameters of its run**")
        if detail.parameters:
            ui.show_table({name: literal(value) for name, value in sorted(detail.parameters.items())})
        else:
            st.caption("The source run recorded none.")


# ---------------------------------------------------------------- metrics


def metrics(version: Version, listed: Sequence[Version]) -> None:
    names = metric_plot.names(listed)
    if not names:
        st.caption("No version of this model has metrics: their source runs recorded none.")
        return
    metric = st.selectbox("Metric", names, format_func=metric_plot.title, key="version_metric", width=340)
    count = sum(metric in other.metrics for other in listed)
    if count > 1:
        figure = metric_plot.figure(listed, metric, version.version)
        title = f"{metric_plot.title(metric)}, over the versions of {version.name}"
        st.plotly_chart(figure, key="version_plot", config={"displayModeBar": False}, alt=title)
        st.caption(f"{title}. Blue is {short(version.ref)}, green is in Production.")
    elif metric not in version.metrics:
        st.caption(f"{short(version.ref)} has no {metric}.")
    if version.metrics:
        ui.show_table({name: _number(value) for name, value in sorted(version.metrics.items())})
    else:
        st.caption(f"The source run of {short(version.ref)} recorded none.")


def _number(value: float) -> str:
    return f"{value:,.4g}" if abs(value) < 1e4 else f"{value:,.0f}"


# ---------------------------------------------------------------- files


def files(version: Version) -> None:
    with told():
        found, remote = later.kept(_key("files", version), "Listing the files …", _files(version), _FRESH)
        total = sum(file.size for file in found)
        st.caption(f"{len(found)} file{'s' if len(found) != 1 else ''}, {ui.megabytes(total)}.")
        table = {"File": [f.path for f in found], "Size, KB": [f.size / 1e3 for f in found]}
        table["SHA-256"] = [file.sha256 or "not fetched" for file in found]
        st.dataframe(
            pd.DataFrame(table), hide_index=True, alt="Files",
            column_config={
                "File": st.column_config.TextColumn(width="large"),
                "Size, KB": st.column_config.NumberColumn(format="%,.1f"),
            },
        )  # fmt: skip
        _digest(version, found, remote)
        st.markdown("**Dependencies**")
        needs, python = later.kept(_key("needs", version), "Reading the requirements …", _needs(version), 600)
        lines = ([f"# Python {python}"] if python else []) + needs
        if lines:
            st.code("\n".join(lines), language="text")
        else:
            st.caption("The logged model names none.")
        licence = version.tags.get(tags.LICENCE)
        st.markdown(f"**Licence** {short(licence) if licence else ':gray[not told]'}")


def _digest(version: Version, found: Sequence[filelist.File], remote: bool) -> None:
    """Whether the files are what was registered."""
    registered = version.tags.get(tags.DIGEST, "")
    if remote and not all(file.sha256 for file in found):
        st.caption("The files are not on this machine: their content is read when it is fetched.")
        if st.button("Fetch and check them", icon=":material/download:", key="version_fetch"):
            patiently("Fetching the files …", artifacts.compute_digest, ui.config(), version)
            later.drop(_key("files", version))
            st.rerun(scope="fragment")
    else:
        if artifacts.matches_build(version, found) is False:
            ui.show_warning("The files are not what was registered: they were changed since. Build it again.")
        elif registered:
            st.caption(":green[:material/check_circle:] The files are what was registered: the digests agree.")
    if registered:
        st.caption("SHA-256 of all files, as it was registered")
        st.code(registered, language=None)


def _files(version: Version) -> Callable[[], tuple[list[filelist.File], bool]]:
    """Also whether they are elsewhere; what is on this machine is digested, once."""
    config = ui.config()

    def read() -> tuple[list[filelist.File], bool]:
        remote = artifacts.local_folder(config, version) is None
        return artifacts.list_files(config, version, read=not remote), remote

    return read


def _needs(version: Version) -> Callable[[], tuple[list[str], str]]:
    config = ui.config()
    return lambda: (artifacts.read_requirements(config, version), artifacts.read_python_version(config, version))


# ---------------------------------------------------------------- what people did with it


def reviews(version: Version, production: Version | None) -> None:
    with told():
        config = ui.config()
        words = "Reading the reviews …"
        found = later.kept(_key("reviews", version), words, lambda: feedback.read_reviews(config, version), _FRESH)
        _counts(found, production)
        for comment in found.comments[:20]:
            icon = ":green[:material/thumb_up:]" if comment.up else ":red[:material/thumb_down:]"
            st.markdown(f"{icon} {literal(comment.text)} :gray[{short(comment.user)}]")
            links.to_chat(comment.conversation, "Open the conversation")
        if len(found.comments) > 20:
            st.caption(f"and {len(found.comments) - 20:,} more comments.")
        if found.latest_conversations:
            st.caption("Conversations, the newest first")
        for talk in found.latest_conversations:
            with st.container(horizontal=True, vertical_alignment="center", gap="small"):
                links.to_chat(talk.conversation, talk.question)
                when = ui.ago(datetime.fromtimestamp(talk.when / 1000, UTC))
                st.caption(f"{short(talk.user, 40)} · {when}" if talk.user else when, width="content")
        if found.conversations > len(found.latest_conversations):
            st.caption(f"and {found.conversations - len(found.latest_conversations):,} more.")
        if not found.given and not found.conversations:
            st.caption("Nobody has talked to it or judged it yet. Thumbs and votes are given in conversations.")
        if st.button("Talk to it", icon=":material/chat:", key="version_talk"):
            st.switch_page("pages/chat_page.py", query_params={"ref": version.ref})


def _counts(found: Reviews, production: Version | None) -> None:
    with st.container(horizontal=True, gap="large"):
        st.metric("Conversations", f"{found.conversations:,}", width="content")
        st.metric("Thumbs up", f"{found.up:,}", width="content")
        st.metric("Thumbs down", f"{found.down:,}", width="content")
        rate = "–" if found.score.rate is None else f"{found.score.rate:.0%}"
        st.metric("Votes won", rate, width="content", help="Of the votes between two answers that somebody won.")
        if production is not None and production.version != found.version.version:
            score = found.against(production)
            rate = "–" if score.rate is None else f"{score.rate:.0%} of {score.won + score.lost}"
            st.metric(f"Against {short(production.ref)}", rate, width="content")
    if found.people:
        st.caption(f"By {', '.join(short(person) for person in found.people[:10])}.")


def record(version: Version) -> None:
    with told():
        page = patiently("Reading the record …", _records, version.name, version.version)
        if page.records:
            record_list.show(page.records, "version_record")
        else:
            st.caption("Nothing was done to it yet: no promotion, no alias, no request.")
        query = {"model": version.name}
        label = f"The whole record of {short(version.name)}"
        st.page_link("pages/promotions_page.py", label=label, icon=":material/history:", query_params=query)


def _records(name: str, number: int) -> search.Page:
    return search.page(ui.config(), model=name, version=number, limit=50)


def use(version: Version) -> None:
    with told():
        code_snippets.show(version, read_detail(version))
