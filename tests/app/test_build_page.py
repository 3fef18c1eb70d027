"""Build: what is passed on, what is refused, and what is told of builds."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from streamlit.testing.v1 import AppTest

from phi3core.access.roles import Person
from phi3core.build import inspection, jobs
from phi3core.build.inspection import Inspection, Outlook
from phi3core.build.spec import BuildSpec
from phi3core.errors import BaseNeeded, Phi3Error, SourceError
from phi3core.settings import Settings
from tests.app.builds import past_build, running_build
from tests.app.conftest import Open, links, said
from tests.app.talks import shown


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[BuildSpec]:
    """The builds that were started; none of them really is."""
    specs: list[BuildSpec] = []

    def start(config: Settings, spec: BuildSpec, person: Person, after: str = "") -> str:
        assert person.may("releaser")
        specs.append(spec.validated())
        return "0" * 32

    monkeypatch.setattr(jobs, "start", start)
    return specs


Sources = dict[tuple[str, str], Inspection | Phi3Error]
PHI3 = Inspection(
    source="/models/phi3",
    format="transformers",
    architecture="Phi3ForCausalLM",
    parameters=3_821_000_000,
    size=7_642_000_000,
    context=4096,
    licence="mit",
    template=True,
    outlooks=(
        Outlook("onnx", "Converted.", "", 20_000_000_000, 24_000_000_000),
        Outlook("transformers", "A pipeline.", "", 15_000_000_000, 12_000_000_000),
    ),
    disk_free=100_000_000_000,
    memory_free=16_000_000_000,
)


@pytest.fixture
def sources(monkeypatch: pytest.MonkeyPatch) -> Sources:
    """What is found at a source with a base; everywhere else Phi-3."""
    found: Sources = {}

    def inspect(source: str, base: str) -> Inspection:
        told = found.get((source, base), replace(PHI3, source=source))
        if isinstance(told, Phi3Error):
            raise told
        return told

    monkeypatch.setattr(inspection, "inspect_apart", inspect)
    return found


def press(at: AppTest, button: str = "build_start") -> AppTest:
    return at.button(key=button).click().run()


def choose_folder(at: AppTest, wrapper: str = "onnx") -> AppTest:
    choose(at, "folder", wrapper).text_input(key="build_folder").set_value("/models/phi3")
    return at


def choose(at: AppTest, kind: str, wrapper: str = "onnx") -> AppTest:
    at.radio(key="build_wrapper").set_value(wrapper)
    at.radio(key="build_kind").set_value(kind)
    return at.run()


def test_without_builds_the_page_says_how_to_start_one(open_page: Open) -> None:
    at = open_page("build")
    assert not at.exception
    assert "No builds yet" in said(at)


def test_pressing_build_starts_what_the_form_says(open_page: Open, started: list[BuildSpec]) -> None:
    at = press(open_page("build"))
    assert not at.exception
    assert not at.error
    assert started == [BuildSpec("onnx", "embedded", "phi3-embedded", "int4-mixed", "prompt", 300, None)]
    at.radio(key="build_signature").set_value("chat")
    at.multiselect(key="build_precision_onnx_embedded").set_value(["int8"])
    at.text_input(key="build_name").set_value("my model")
    at.number_input(key="build_max_tokens").set_value(77)
    at.number_input(key="build_temperature").set_value(0.5)
    press(at)
    assert started[1] == BuildSpec("onnx", "embedded", "my model", "int8", "chat", 77, 0.5)


def test_a_transformers_build_takes_its_own_precisions(open_page: Open, started: list[BuildSpec]) -> None:
    at = choose(open_page("build"), "embedded", "transformers")
    assert at.multiselect(key="build_precision_transformers_embedded").options[0] == "bfloat16"
    press(at)
    assert started == [BuildSpec("transformers", "embedded", "phi3-embedded", "bfloat16", "chat", 300, None)]


@pytest.mark.usefixtures("sources")
def test_a_repository_may_be_pasted_with_or_without_its_prefix_and_names_the_model(
    open_page: Open, started: list[BuildSpec]
) -> None:
    at = choose(open_page("build"), "hub")
    at.text_input(key="build_repo").set_value(" hf:microsoft/Phi-3-mini-4k-instruct@main ")
    press(at)
    assert (started[0].source, started[0].name) == (
        "hf:microsoft/Phi-3-mini-4k-instruct@main",
        "phi-3-mini-4k-instruct",
    )


@pytest.mark.parametrize(
    ("kind", "fields", "sentence"),
    [
        ("folder", {}, "Say which folder holds the weights"),
        ("hub", {}, "Say which repository holds the weights"),
        ("hub", {"build_repo": "not a repository"}, "owner/repo"),
        ("hub", {"build_repo": "justone"}, "owner/repo"),
        ("embedded", {"build_name": "a@b"}, "A model's name is made of"),
        ("embedded", {"build_name": "a/b"}, "A model's name is made of"),
    ],
)
def test_a_form_that_makes_no_sense_gets_a_sentence_and_starts_nothing(
    open_page: Open, settings: Settings, kind: str, fields: dict[str, str], sentence: str
) -> None:
    at = choose(open_page("build"), kind)
    for key, value in fields.items():
        at.text_input(key=key).set_value(value)
    press(at)
    assert not at.exception
    assert sentence in shown("\n".join(error.value for error in at.error))
    assert jobs.list_recent(settings) == []
    assert list(settings.jobs.iterdir()) == []


@pytest.mark.usefixtures("sources")
def test_inspecting_says_what_a_folder_is_and_needs_and_starts_nothing(
    open_page: Open, started: list[BuildSpec]
) -> None:
    shown = said(press(choose_folder(open_page("build")), "build_inspect"))

    for fact in ("Phi3ForCausalLM", "3.8 billion parameters", "7.6 GB of weights", "4,096 tokens", "mit"):
        assert fact in shown
    assert ":green[:material/check_circle:] **Transformers:** A pipeline\\." in shown
    assert ":orange[:material/warning:] **ONNX:**" in shown
    assert ":orange[**24.0 GB of memory (16.0 GB free)**]" in shown
    assert not started


@pytest.mark.usefixtures("sources")
def test_what_can_be_built_is_started_and_no_longer_shown_as_looked_at(
    open_page: Open, started: list[BuildSpec]
) -> None:
    at = press(choose_folder(open_page("build")))

    assert started == [BuildSpec("onnx", "/models/phi3", "phi3", "int4", "prompt", 300, None)]
    assert "Phi3ForCausalLM" not in said(at)
    assert not at.error


def test_what_a_wrapper_cant_build_is_not_started_with_it(
    open_page: Open, started: list[BuildSpec], sources: Sources
) -> None:
    problem = Outlook("onnx", problem="onnxruntime-genai can't convert <b>it</b>. Build it with the other.")
    sources["/models/phi3", ""] = replace(PHI3, architecture="*evil*", outlooks=(problem, PHI3.outlooks[1]))
    at = press(choose_folder(open_page("build")))

    assert [shown(error.value) for error in at.error] == [f"Nothing was started. {problem.problem}"]
    assert "\\*evil\\*" in said(at)
    assert not started
    choose(at, "folder", "transformers")
    assert not at.error
    assert "**ONNX** :gray[can't:]" in said(at)
    press(at)
    assert [spec.wrapper for spec in started] == ["transformers"]


def test_a_signature_for_chats_is_refused_where_there_is_no_template(
    open_page: Open, started: list[BuildSpec], sources: Sources
) -> None:
    sources["/models/phi3", ""] = replace(PHI3, template=False)
    at = choose_folder(open_page("build"))
    at.radio(key="build_signature").set_value("chat")

    assert "has no chat template" in press(at).error[0].value
    assert not started


def test_a_folder_that_is_no_model_starts_nothing_and_is_looked_at_anew_each_time(
    open_page: Open, settings: Settings, sources: Sources
) -> None:
    sources["/models/phi3", ""] = SourceError("/models/phi3 is not a model. Point to the folder that holds one.")
    at = press(choose_folder(open_page("build")))
    assert [shown(error.value) for error in at.error] == [
        "/models/phi3 is not a model. Point to the folder that holds one."
    ]
    assert jobs.list_recent(settings) == []

    del sources["/models/phi3", ""]
    press(at, "build_inspect")
    assert not at.error
    assert "Phi3ForCausalLM" in said(at)


def test_an_adapter_whose_base_cant_be_had_is_asked_for_it(
    open_page: Open, started: list[BuildSpec], sources: Sources
) -> None:
    sources["/models/phi3", ""] = BaseNeeded("This adapter does not say which model it was made for. Name the base.")
    sources["/models/phi3", "hf:acme/phi3"] = replace(PHI3, base="hf:acme/phi3")
    at = choose_folder(open_page("build"))
    assert "build_base" not in [field.key for field in at.text_input]
    press(at)
    assert "does not say which model" in shown(at.error[0].value)

    at.text_input(key="build_base").set_value("hf:acme/phi3")
    assert "an adapter of" in said(press(at, "build_inspect"))
    press(at)
    assert [(spec.source, spec.base) for spec in started] == [("/models/phi3", "hf:acme/phi3")]


def test_a_failed_build_is_listed_with_its_reason_and_log(open_page: Open, settings: Settings) -> None:
    past_build(
        settings, "FAILED", name="broken", reason="/nowhere is no model: it has no config.json.", log="a\n50%\rend"
    )
    at = open_page("build")
    assert not at.exception
    assert shown(at.error[0].value) == "/nowhere is no model: it has no config.json."
    assert "**broken**" in said(at)
    assert "failed" in said(at)
    assert at.code[0].value == "a\nend"


def test_a_cancelled_build_is_listed_as_cancelled(open_page: Open, settings: Settings) -> None:
    past_build(settings, "KILLED", reason="Cancelled.")
    assert "· cancelled" in said(open_page("build"))


def test_a_finished_build_links_to_its_version_chat_and_run(open_page: Open, settings: Settings) -> None:
    run_id = past_build(settings, "FINISHED", name="phi3", version=4)
    at = open_page("build")
    assert links(at)[r"phi3\/4"] == "registry?model=phi3&version=4"
    assert links(at)["Chat with it"] == "chat?ref=phi3%2F4"
    assert run_id in said(at)


@pytest.fixture
def process() -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen(["sleep", "100"]) as process:
        yield process
        process.kill()


def test_a_running_build_shows_its_named_steps_and_can_be_cancelled(
    open_page: Open, settings: Settings, process: subprocess.Popen[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    events: list[dict[str, Any]] = [
        {"step": "weights", "text": "done", "fraction": 1.0, "seconds": 2.5},
        {"step": "convert", "text": "layer 3 of 30", "fraction": 0.1, "seconds": None},
    ]
    run_id = running_build(settings, process.pid, events)
    at = open_page("build")
    shown = said(at)
    assert "Get the weights :gray[· 2.5 s]" in shown
    assert "Convert to ONNX :gray[· layer 3 of 30]" in shown
    assert "Register the version" in shown
    cancelled: list[tuple[str, str]] = []
    monkeypatch.setattr(jobs, "cancel", lambda config, run_id, person: cancelled.append((run_id, person.role)))
    at.button(key=f"cancel_{run_id}").click().run()
    assert cancelled == [(run_id, "admin")]
    assert not at.exception


def test_a_build_whose_process_was_killed_is_closed_with_a_sentence(
    open_page: Open, settings: Settings, process: subprocess.Popen[bytes]
) -> None:
    running_build(settings, process.pid, [])
    process.kill()
    process.wait()
    at = open_page("build")
    assert "was killed" in shown(at.error[0].value)
    assert [job.status for job in jobs.list_recent(settings)] == ["FAILED"]
