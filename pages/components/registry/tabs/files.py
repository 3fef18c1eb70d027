"""The tab with a version's files, their digests, and what they need to be loaded."""

from __future__ import annotations

import pandas as pd
import streamlit as st

from pages.components.shared import reads, ui
from pages.components.shared.escape import in_table, short
from phi3core import tags
from phi3core.registry import artifacts
from phi3core.registry.filelist import File
from phi3core.registry.models import Version
from phi3core.settings import Settings
from phi3core.text import plural

_FRESH, _REQUIREMENTS_FRESH = 20.0, 600.0  # seconds


def show(version: Version) -> None:
    with ui.show_errors():
        found, remote = reads.read("Listing the files …", _files, ui.config(), version, max_age=_FRESH)
        total = sum(file.size for file in found)
        st.caption(f"{len(found)} {plural(len(found), 'file')}, {ui.size(total)}.")
        table = {"File": [in_table(f.path) for f in found], "Size, KB": [f.size / 1e3 for f in found]}
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
        words = "Reading the requirements …"
        needs, python = reads.read(words, _requirements, ui.config(), version, max_age=_REQUIREMENTS_FRESH)
        lines = ([f"# Python {python}"] if python else []) + needs
        if lines:
            st.code("\n".join(lines), language="text")
        else:
            st.caption("The logged model names none.")
        licence = version.tags.get(tags.LICENCE)
        st.markdown(f"**Licence** {short(licence) if licence else ':gray[not told]'}")


def _digest(version: Version, found: list[File], remote: bool) -> None:
    """Whether the files are what was registered."""
    registered = version.tags.get(tags.DIGEST, "")
    if remote and not all(file.sha256 for file in found):
        st.caption("The files are not on this machine: their content is read when it is fetched.")
        if st.button("Fetch and check them", icon=":material/download:", key="version_fetch"):
            reads.wait_for("Fetching the files …", artifacts.compute_digest, ui.config(), version)
            reads.invalidate()
            st.rerun(scope="fragment")
    else:
        if artifacts.matches_build(version, found) is False:
            ui.show_warning("The files are not what was registered: they were changed since. Build it again.")
        elif registered:
            st.caption(":green[:material/check_circle:] The files are what was registered: the digests agree.")
    if registered:
        st.caption("SHA-256 of all files, as it was registered")
        st.code(registered, language=None)


def _files(config: Settings, version: Version) -> tuple[list[File], bool]:
    """Also whether they are elsewhere; what is on this machine is digested, once."""
    remote = artifacts.local_folder(config, version) is None
    return artifacts.list_files(config, version, read=not remote), remote


def _requirements(config: Settings, version: Version) -> tuple[list[str], str]:
    """The packages, and the version of Python."""
    return artifacts.read_requirements(config, version), artifacts.read_python_version(config, version)
