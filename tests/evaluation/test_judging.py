"""A judge: its verdicts are scores on the answers, once; what is no verdict is told with its words."""

from __future__ import annotations

import pytest

from phi3core.endpoints.config import Endpoint
from phi3core.errors import BadInput, ServerError
from phi3core.evaluation import judging, prompt_sets, results
from phi3core.evaluation.judging import Judge
from phi3core.registry.models import Version
from phi3core.settings import Settings
from phi3core.store.client import mlflow_client
from phi3core.traces.turn import Turn
from tests.app.servers import FakePool
from tests.endpoints.service import Service
from tests.evaluation.evaluating import Engines, JudgingEngine, asked_of, run, says
from tests.evaluation.sets import item
from tests.support import fakes

JUDGED = [
    item("spain", criteria="Names a town."),
    item("france", "What is the capital of France?", reference="Paris"),
    item("free", "Say hello."),
]


@pytest.fixture(autouse=True)
def saved(settings: Settings) -> prompt_sets.PromptSet:
    return prompt_sets.save_set(settings, "capitals", JUDGED)


def test_a_version_judges_criteria_and_references_and_its_verdicts_are_scores(
    settings: Settings, pool: FakePool, versions: list[Version], engines: Engines
) -> None:
    engines["phi3/4"] = JudgingEngine(says("yes"))

    found = run(settings, pool, "phi3/1", judge="phi3/4")

    assert found.of("phi3/1")["spain"].scores["criteria"] is True
    assert found.of("phi3/1")["spain"].words == {"criteria": "It does."}
    assert found.of("phi3/1")["france"].scores["correctness"] is True
    assert not found.of("phi3/1")["free"].words
    asked = "\n".join(str(prompt) for prompt in engines["phi3/4"].prompts)
    assert "<guideline>Names a town.</guideline>" in asked
    assert "<claim>Paris</claim>" in asked
    assert "Madrid it is." in asked
    kept = mlflow_client(settings).get_run(found.run.run_id)
    assert kept.data.metrics["phi3/1/criteria"] == 1
    trace = mlflow_client(settings).get_trace(found.of("phi3/1")["spain"].trace_id)
    (given,) = (one for one in trace.info.assessments if one.name == "criteria")
    assert (given.value, given.rationale, given.source.source_type) == (True, "It does.", "LLM_JUDGE")


def test_what_was_judged_is_not_judged_again_and_another_judge_has_its_own_say(
    settings: Settings, pool: FakePool, versions: list[Version], engines: Engines
) -> None:
    engines["phi3/4"], engines["phi3/3"] = JudgingEngine(says("yes")), JudgingEngine(says("no"))
    run(settings, pool, "phi3/1", judge="phi3/4")
    answers, asked = asked_of({"phi3/1": engines["phi3/1"]}), asked_of(engines)

    again = run(settings, pool, "phi3/1", judge="phi3/4")
    assert asked_of(engines) == asked
    other = run(settings, pool, "phi3/1", judge="phi3/3")

    assert asked_of({"phi3/1": engines["phi3/1"]}) == answers
    assert (again.means("phi3/1")["criteria"].value, other.means("phi3/1")["criteria"].value) == (1, 0)
    trace = mlflow_client(settings).get_trace(other.of("phi3/1")["spain"].trace_id)
    assert sorted(one.source.source_id for one in trace.info.assessments if one.name == "criteria") == [
        "phi3/3",
        "phi3/4",
    ]


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("I like cheese.",), "I like cheese."),
        (says("maybe", "Who knows?"), "maybe. Who knows?"),
        (("{}",), "no result"),
    ],
)
def test_nonsense_is_no_score_and_is_told_with_the_judges_words(
    settings: Settings, pool: FakePool, versions: list[Version], engines: Engines, words: tuple[str, ...], told: str
) -> None:
    engines["phi3/4"] = JudgingEngine(words)

    found = run(settings, pool, "phi3/1", judge="phi3/4")

    answer = found.of("phi3/1")["spain"]
    assert "criteria" not in answer.scores
    assert told in answer.words["criteria"]
    assert "criteria" not in found.means("phi3/1")


def test_a_judge_that_fails_leaves_the_answers_and_says_what_is_missing(
    settings: Settings, pool: FakePool, versions: list[Version], engines: Engines
) -> None:
    engines["phi3/4"] = JudgingEngine(says("yes"))
    engines["phi3/4"].fail_at = 0

    with pytest.raises(ServerError, match="2 of 2 verdicts are missing: The judge phi3/4 can't be asked"):
        run(settings, pool, "phi3/1", judge="phi3/4")

    (kept,) = results.search_evaluations(settings)
    assert kept.complete
    engines["phi3/4"].fail_at = None
    assert run(settings, pool, "phi3/1", judge="phi3/4").means("phi3/1")["criteria"].value == 1


def test_what_is_too_long_for_the_judge_is_told_and_holds_nothing_up(
    settings: Settings, pool: FakePool, versions: list[Version], engines: Engines
) -> None:
    engines["phi3/4"] = fakes.FakeEngine(says("yes"))  # whose context is short

    found = run(settings, pool, "phi3/1", judge="phi3/4")

    assert "took no such question" in found.of("phi3/1")["spain"].words["criteria"]
    assert "criteria" not in found.means("phi3/1")


def test_an_answer_that_failed_is_judged_without_asking() -> None:
    judge = Judge("phi3/4", "http://127.0.0.1:9/v1/chat/completions", "", "x")

    given = judging.ask_judge(judge, "criteria", JUDGED[0], Turn("?", "phi3/1", state="failed"))

    assert (given.value, given.rationale) == (False, "There is no answer.")


def test_the_key_of_a_judge_goes_to_it_alone_and_stands_in_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-of-the-environment")
    turn = Turn("?", "phi3/1", answer="Madrid", state="done")
    service = Service()
    service.status, service.answer = 401, b'{"error": {"message": "bad key sesame"}}'
    try:
        with pytest.raises(ServerError) as caught:
            judging.ask_judge(Judge("endpoint:j", f"{service.url}/v1", "sesame", "large"), "criteria", JUDGED[0], turn)
    finally:
        service.close()

    assert "sesame" not in str(caught.value)
    assert service.requests
    assert {headers["Authorization"] for _, headers, _ in service.requests} == {"Bearer sesame"}


def test_an_endpoint_of_mlflows_protocol_is_no_judge(
    settings: Settings, pool: FakePool, monkeypatch: pytest.MonkeyPatch
) -> None:
    endpoint = Endpoint("m", "mlflow", "http://127.0.0.1:9/invocations")
    monkeypatch.setattr(judging, "find_target", lambda *_: endpoint)

    with pytest.raises(BadInput, match="must speak OpenAI's protocol"), judging.open_judge(settings, pool, "x"):  # type: ignore[arg-type]
        pass
