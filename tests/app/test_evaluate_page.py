"""Evaluate: a prompt set and versions are chosen, the answers come in the background, and the result is looked at."""

from __future__ import annotations

import json
import re
import statistics
from collections.abc import Iterator

import pytest
from streamlit.testing.v1 import AppTest

from pages.components.shared import reads
from phi3core.errors import Forbidden
from phi3core.evaluation import jobs, prompt_sets, pulse, results
from phi3core.evaluation.evaluate import evaluate
from phi3core.evaluation.results import Evaluation
from phi3core.settings import Settings
from phi3core.store.client import mlflow_client
from tests.app.comparing import three_versions
from tests.app.conftest import Open, Register, said
from tests.app.people import RAY
from tests.app.servers import FakePool, HeldEngine
from tests.app.talks import shown
from tests.evaluation.evaluating import JudgingEngine, says
from tests.evaluation.sets import CAPITALS, item
from tests.support import fakes


@pytest.fixture(autouse=True)
def _no_jobs() -> Iterator[None]:
    yield
    fakes.until(lambda: all(job.state != "running" for job in jobs.recent()))
    jobs._jobs.clear()


def ended(at: AppTest) -> AppTest:
    """The page once no evaluation runs: in a browser its live part sees it, and has all read anew."""
    fakes.until(lambda: all(job.state != "running" for job in jobs.recent()))
    reads.invalidate()
    return at.run()


def evaluated(settings: Settings, servers: FakePool, *refs: str) -> Evaluation:
    prompt_sets.save_set(settings, "capitals", CAPITALS)
    return evaluate(settings, servers, "capitals", refs)  # type: ignore[arg-type]


def test_two_versions_are_evaluated_over_a_set_and_the_result_opens(
    open_page: Open, register: Register, servers: FakePool, settings: Settings
) -> None:
    three_versions(register, servers)
    prompt_sets.save_set(settings, "capitals", CAPITALS)

    at = open_page("evaluate")
    assert "None yet." in shown(said(at))
    assert at.selectbox(key="evaluate_set").options[0] == "capitals · 3 items"
    at.multiselect(key="evaluate_refs").set_value(["phi3/1", "phi3/2"]).run()
    at = ended(at.button(key="evaluate_start").click().run())

    assert not at.exception
    assert "capitals@" in shown(said(at))
    (found,) = results.search_evaluations(settings)
    assert (found.refs, found.complete) == (("phi3/1", "phi3/2"), True)
    told = shown(said(open_page("evaluate", run=found.run_id)))
    assert "The capital is Madrid." in told
    assert "The town is Madrid." in told


def test_the_judge_that_is_chosen_judges_the_answers_and_its_reasons_stand_below_them(
    open_page: Open, register: Register, servers: FakePool, settings: Settings
) -> None:
    three_versions(register, servers)["phi3/3"] = JudgingEngine(says("no", "It greets nobody."))
    prompt_sets.save_set(settings, "polite", [item("spain", criteria="Greets first.")])

    at = open_page("evaluate")
    at.multiselect(key="evaluate_refs").set_value(["phi3/1"]).run()
    at.selectbox(key="evaluate_judge").set_value("phi3/3").run()
    at = ended(at.button(key="evaluate_start").click().run())

    assert not at.exception
    (found,) = results.search_evaluations(settings)
    assert results.read_evaluation(settings, found.run_id).of("phi3/1")["spain"].scores["criteria"] is False
    told = shown(said(open_page("evaluate", run=found.run_id)))
    assert "Judged by phi3/3: an opinion" in told
    assert "criteria: It greets nobody." in told


def test_where_a_version_lost_is_shown_with_how_sure_it_is(
    open_page: Open, register: Register, servers: FakePool, settings: Settings
) -> None:
    three_versions(register, servers)
    found = evaluated(settings, servers, "phi3/1", "phi3/3")  # which says: No idea at all.

    at = open_page("evaluate", run=found.run.run_id)
    assert "better on 0, worse on 1, which may be chance" in shown(said(at))
    assert "`spain`" in shown(said(at))
    at.selectbox(key="evaluate_filter").set_value("Where phi3/3 lost").run()

    assert "What is the capital of Spain?" in shown(said(at))
    assert "What is the capital of France?" not in shown(said(at))
    assert not at.exception


def test_the_items_on_which_a_version_is_worse_are_one_press_away(
    open_page: Open, register: Register, servers: FakePool, settings: Settings
) -> None:
    three_versions(register, servers)
    found = evaluated(settings, servers, "phi3/1", "phi3/3")

    at = open_page("evaluate", run=found.run.run_id)
    at.button(key="evaluate_show_worse_contains_phi3/3").click().run()

    assert at.selectbox(key="evaluate_filter").value == "Where phi3/3 is worse: contains"
    assert "What is the capital of Spain?" in shown(said(at))
    assert "What is the capital of France?" not in shown(said(at))
    at.selectbox(key="evaluate_filter").set_value("All").run()
    at.text_input(key="evaluate_find").set_value("france").run()
    assert "What is the capital of France?" in shown(said(at))
    assert "What is the capital of Spain?" not in shown(said(at))


def test_how_long_the_answers_of_each_version_are_is_drawn_as_they_spread(
    open_page: Open, register: Register, servers: FakePool, settings: Settings
) -> None:
    three_versions(register, servers)
    found = evaluated(settings, servers, "phi3/1", "phi3/3")
    lengths = [float(answer.scores["length"]) for answer in found.of("phi3/1").values()]

    at = open_page("evaluate", run=found.run.run_id)
    one, other = json.loads(at.get("plotly_chart")[1].proto.spec)["data"]

    assert (one["type"], one["name"], other["name"]) == ("box", "phi3/1", "phi3/3")
    assert one["median"] == [statistics.median(lengths)]
    at.segmented_control(key="evaluate_spread").set_value("seconds").run()
    assert not at.exception


def test_two_evaluations_of_a_set_are_compared_and_what_they_took_is_told(
    open_page: Open, register: Register, servers: FakePool, settings: Settings
) -> None:
    three_versions(register, servers)
    before = evaluated(settings, servers, "phi3/1")
    after = evaluated(settings, servers, "phi3/3")

    at = open_page("evaluate", run=after.run.run_id)
    assert re.search(r"in all \d+ tokens and \d+ s of answering", shown(said(at)))
    at.selectbox(key="evaluate_other").set_value(before.run.run_id).run()

    assert not at.exception
    assert re.search(r"phi3/3.* against .*phi3/1.*\n.*contains: .*better on 0, worse on 1", shown(said(at)))


def test_the_report_has_everything_and_nothing_to_press_but_the_way_back(
    open_page: Open, register: Register, servers: FakePool, settings: Settings
) -> None:
    three_versions(register, servers)
    found = evaluated(settings, servers, "phi3/1", "phi3/3")
    at = open_page("evaluate", run=found.run.run_id)
    at.button(key="evaluate_report").click().run()

    told = shown(said(at))
    assert "better on 0, worse on 1" in told
    assert all(answer.question in told for answer in found.answers)
    assert [button.key for button in at.button] == ["evaluate_report_back"]


def test_one_that_was_stopped_says_so_and_goes_on_when_it_is_started_again(
    open_page: Open, register: Register, servers: FakePool, settings: Settings
) -> None:
    three_versions(register, servers)
    held = HeldEngine(("Madrid",), 0)
    engines = servers.engines
    servers.engines = lambda ref: held
    prompt_sets.save_set(settings, "capitals", CAPITALS)
    at = open_page("evaluate")
    at.multiselect(key="evaluate_refs").set_value(["phi3/1"]).run()
    at.button(key="evaluate_start").click().run()
    fakes.until(lambda: jobs.recent()[0].total)
    (job,) = jobs.recent()
    with pytest.raises(Forbidden, match="who started it"):
        job.stop(RAY)
    at.run().button(key=f"evaluate_stop_{job.id}").click().run()
    held.go.set()

    at = ended(at)
    assert "was stopped" in shown(said(at))
    assert "incomplete" in shown(said(at))
    servers.engines = engines
    at = ended(at.button(key="evaluate_start").click().run())
    assert [one.complete for one in results.search_evaluations(settings)] == [True]


def test_what_fails_is_told_and_the_page_stands(
    open_page: Open, register: Register, servers: FakePool, settings: Settings
) -> None:
    three_versions(register, servers)["phi3/1"].fail_at = 0
    at = open_page("evaluate")
    at.multiselect(key="evaluate_refs").set_value(["phi3/9"]).run()
    at.button(key="evaluate_start").click().run()
    assert "phi3 has no version 9" in at.error[0].value
    at.multiselect(key="evaluate_refs").set_value(["phi3/1"]).run()
    at = ended(at.button(key="evaluate_start").click().run())

    assert "answers are missing" in at.error[0].value
    assert not at.exception


def test_text_of_people_and_models_is_drawn_letter_by_letter(
    open_page: Open, register: Register, servers: FakePool, settings: Settings
) -> None:
    engine = three_versions(register, servers)["phi3/1"]
    engine.words = ("![x](https://evil.example/a.png) :red-badge[Production]",)
    prompt_sets.save_set(settings, "odd", [item("odd", "[click](https://evil.example) $x$", contains=["x"])])
    found = evaluate(settings, servers, "odd", ["phi3/1"])  # type: ignore[arg-type]

    told = said(open_page("evaluate", run=found.run.run_id))

    assert "https://evil" in shown(told)
    assert "![x](" not in told
    assert "[click](" not in told
    assert ":red-badge[Production]" not in told


def test_a_viewer_looks_and_starts_nothing(
    open_page: Open, register: Register, servers: FakePool, settings: Settings
) -> None:
    three_versions(register, servers)
    found = evaluated(settings, servers, "phi3/1")
    settings.secrets.write_text('[roles]\ndefault = "viewer"\n')

    assert open_page("evaluate").button(key="evaluate_start").disabled
    assert "The capital is Madrid." in shown(said(open_page("evaluate", run=found.run.run_id)))
    assert "is no evaluation's id" in shown(open_page("evaluate", run="x").warning[0].value)


def test_one_that_differs_from_what_this_app_makes_in_its_options_alone_can_be_stopped(
    open_page: Open, register: Register, servers: FakePool, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    three_versions(register, servers)
    of = evaluated(settings, servers, "phi3/1").run
    mlflow_client(settings).update_run(of.run_id, status="RUNNING")  # as if another process made it
    key = f"evaluate_end_{of.run_id}"

    for options, offered in (({"temperature": 0.7}, True), ({"temperature": None}, False)):
        job = jobs.EvaluationJob(of.prompt_set, of.refs, "eve@example.org", options)
        monkeypatch.setattr(jobs, "_jobs", [job])
        assert (key in [button.key for button in open_page("evaluate").button]) is offered


def test_one_that_another_app_makes_shows_how_far_it_is_and_one_that_broke_off_goes_on(
    open_page: Open, register: Register, servers: FakePool, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    three_versions(register, servers)
    found = evaluated(settings, servers, "phi3/1")
    mlflow_client(settings).update_run(found.run.run_id, status="RUNNING")  # as if its process made it, or was killed

    assert "under way on" in (told := shown(said(open_page("evaluate"))))
    assert "3 of 3 answers" in told
    monkeypatch.setattr(pulse, "_SILENT", -1)
    reads.invalidate()
    at = open_page("evaluate")
    at = ended(at.button(key=f"evaluate_go_on_{found.run.run_id}").click().run())

    assert not at.exception
    assert results.read_run(settings, found.run.run_id).complete
    assert len(results.read_evaluation(settings, found.run.run_id).answers) == 3
