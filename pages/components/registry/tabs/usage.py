"""The tab with code to load a version and to call it, with the reference that the reader chooses."""

from __future__ import annotations

import functools
import json
import os
import shlex

import streamlit as st

from pages.components.chat import code_snippets
from pages.components.registry import version_job
from pages.components.shared import links, reads, store_reads, ui
from pages.components.shared.escape import short
from phi3core import tags
from phi3core.build import declared_environment, jobs, measure_again
from phi3core.clean_text import one_line
from phi3core.registry import signature
from phi3core.registry.models import Version, VersionDetails
from phi3core.registry.reference import parse_reference
from phi3core.store.client import hide_password

_HINT = "By number it stays this version; by alias or stage it follows whatever is promoted."


def show(version: Version) -> None:
    with ui.show_errors():
        _show(version, store_reads.detail(version))
        _environment(version)


def _environment(version: Version) -> None:
    """Whether what it declares is enough to run it, as far as that was tried."""
    trial = reads.read("Reading what was tried …", declared_environment.read_trial, ui.config(), version, max_age=10)
    if trial:
        named = ", ".join(f"{name} {number}" for name, number in trial.packages.items())
        said = "It gave the same answer as here" if trial.same else "It answered otherwise than here"
        text = f"{said} in an environment of {named} alone, on Python {trial.python}, {ui.ago(trial.when)}."
        (st.success if trial.same else st.warning)(short(text, 400), icon=":material/deployed_code:")
    start = functools.partial(jobs.start_trial, ui.config(), version.ref, ui.person())
    hint = "Makes a new virtual environment from its own pip requirements alone, and holds its answer against ours."
    version_job.show(version, "environment", "Try its environment", hint, measure_again.why_not(version), start)


def _show(version: Version, detail: VersionDetails) -> None:
    ref = st.selectbox("Ask for it as", references(version), key=f"calling_{version.ref}", help=_HINT, width=340)
    key = bool(os.environ.get("PHI3_API_KEY"))
    url = f"{links.app_address()}/v1"
    names = ["MLflow", "OpenAI client", "curl", "Terminal"]
    mlflow, client, curl, terminal = st.tabs(names)
    with mlflow:
        st.caption("Loads the model into your own Python process; install its dependencies first.")
        st.code(in_mlflow(ref, version, detail, _store()), language="python", wrap_lines=True)
    with client:
        st.caption("This app speaks OpenAI's protocol on its own port, and opens the version when it is asked.")
        st.code(code_snippets.in_python(code_snippets.example(ref), url, key), language="python", wrap_lines=True)
    with curl:
        st.code(code_snippets.in_curl(code_snippets.example(ref), url, key), language="bash", wrap_lines=True)
    with terminal:
        st.code(f"python -m phi3core chat {shlex.quote(ref)}", language="bash", wrap_lines=True)
        st.caption(f"Or with MLflow alone, without this app: {short(uri(ref, version))}")
        serve = f"mlflow models serve -m {shlex.quote(uri(ref, version))} -p 5001"
        command = f"MLFLOW_TRACKING_URI={shlex.quote(_store())} {serve}"
        st.code(command, language="bash", wrap_lines=True)


def references(version: Version) -> list[str]:
    """The ways to name the version, the one that never moves first."""
    aliases = [alias for alias in version.aliases if alias not in tags.RESERVED_ALIASES]
    stages = [version.stage] if version.stage in tags.RESERVED_ALIASES.values() else []
    return [version.ref, *(f"{version.name}/{stage}" for stage in stages), *(f"{version.name}@{a}" for a in aliases)]


def uri(ref: str, version: Version) -> str:
    """A reference as MLflow writes it. A stage by its alias, where there is one: that is the truth, and stages may go.

    version: the one that it means.
    """
    found = parse_reference(ref)
    if found.number is not None:
        return f"models:/{found.name}/{found.number}"
    if found.named_stage and version.lacks_alias:
        return f"models:/{found.name}/{found.named_stage}"
    return f"models:/{found.name}@{found.alias or str(found.stage).lower()}"


def in_mlflow(ref: str, version: Version, detail: VersionDetails, store: str) -> str:
    """Python that loads the version by MLflow and asks it once: its own flavor where that knows more than pyfunc."""
    start = f"mlflow.set_tracking_uri({json.dumps(store, ensure_ascii=False)})\n"
    address = json.dumps(uri(ref, version), ensure_ascii=False)
    pyfunc = f"import mlflow\n\n{start}model = mlflow.pyfunc.load_model({address})\n{_ask(detail)}\n"
    if "transformers" in detail.flavors or version.wrapper == "transformers":
        return pyfunc + (
            "\n# The native pipeline, which can stream:\n"
            f"pipeline = mlflow.transformers.load_model({address})\n"
            f'print(pipeline([{{"role": "user", "content": "{code_snippets.QUESTION}"}}], max_new_tokens=100))\n'
        )
    return pyfunc


def _ask(detail: VersionDetails) -> str:
    inputs = [str(column.get("name") or "") for column in detail.signature.get("inputs") or []]
    if "messages" in inputs:
        return f'print(model.predict({{"messages": [{{"role": "user", "content": "{code_snippets.QUESTION}"}}]}}))'
    if inputs == ["prompt"]:
        return f'print(model.predict([{{"prompt": "{code_snippets.QUESTION}"}}]))'
    if not inputs:
        return "print(model.predict(...))  # it was logged without a signature: nothing says what it takes"
    row = ", ".join(f"{json.dumps(name)}: ..." for name in inputs)
    words = one_line(signature.describe_signature(detail.signature), 500)  # a line break would end the comment
    return f"# {words}\nprint(model.predict([{{{row}}}]))"


def _store() -> str:
    """The store's address as a program elsewhere needs it, without its password."""
    address = ui.config().tracking_uri
    return hide_password(address, address)
