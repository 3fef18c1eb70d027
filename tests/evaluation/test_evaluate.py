"""Evaluations: every version answers every item once, whatever happens meanwhile."""

from __future__ import annotations

import json

import pytest

from phi3core import tags
from phi3core.access.roles import Person
from phi3core.chat import search
from phi3core.errors import BadInput, Forbidden, NotFound, ServerError
from phi3core.evaluation import datasets, prompt_sets, results
from phi3core.evaluation.evaluate import evaluate
from phi3core.evaluation.items import Item
from phi3core.registry.models import Version
from phi3core.settings import Settings
from phi3core.store.client import experiment_id, mlflow_client
from phi3core.traces import feedback, turn_trace
from tests.app.servers import FakePool
from tests.evaluation.evaluating import Engines, asked_of, run
from tests.evaluation.sets import CAPITALS, item
from tests.support import fakes


@pytest.fixture(autouse=True)
def saved(settings: Settings) -> prompt_sets.PromptSet:
    return prompt_sets.save_set(settings, "capitals", CAPITALS)


def test_every_version_answers_every_item_and_is_scored(
    settings: Settings, pool: FakePool, versions: list[Version], saved: prompt_sets.PromptSet
) -> None:
    seen: list[tuple[int, int]] = []

    found = run(settings, pool, options={"temperature": 0, "top_p": None}, report=lambda *at: seen.append(at))

    assert (found.run.prompt_set, found.run.refs, found.run.complete) == (saved.ref, ("phi3/1", "phi3/2"), True)
    assert {(one.item, one.ref) for one in found.answers} == {
        (item, version.ref) for item in ("spain", "france", "free") for version in versions[:2]
    }
    answer = found.of("phi3/1")["spain"]
    assert (answer.text, answer.failed) == ("Madrid it is. ", False)
    assert answer.scores.items() >= {"contains": True, "refusal": False, "finished": True, "length": 3.0}.items()
    assert "contains" not in found.of("phi3/1")["free"].scores
    assert (found.means("phi3/1")["contains"].value, found.means("phi3/1")["contains"].count) == (0.5, 2)
    assert (seen[0], seen[-1]) == ((0, 6), (6, 6))
    kept = mlflow_client(settings).get_run(found.run.run_id)
    assert (kept.data.metrics["phi3/2/contains"], kept.data.tags[tags.OPTIONS]) == (0.5, '{"temperature": 0}')
    (dataset,) = (given.dataset for given in kept.inputs.dataset_inputs)
    assert (dataset.name, saved.digest.startswith(dataset.digest)) == (saved.ref, True)
    assert datasets.read_items(settings, json.loads(dataset.source)["dataset_id"])[1] == saved.digest


def test_an_answer_is_a_trace_of_the_run_with_its_scores_and_of_no_conversation(
    settings: Settings, pool: FakePool, versions: list[Version]
) -> None:
    found = run(settings, pool, "phi3/1")

    kept = mlflow_client(settings).get_trace(found.of("phi3/1")["spain"].trace_id)
    assert {given.name: given.value for given in kept.info.assessments}["contains"] is True
    assert {given.source.source_type for given in kept.info.assessments} == {"CODE"}
    assert turn_trace.read_turn(kept).question == "What is the capital of Spain?"
    assert kept.info.trace_metadata["mlflow.sourceRun"] == found.run.run_id
    assert search.search_conversations(settings).conversations == []
    assert feedback.read_reviews(settings, versions[0]).conversations == 0


def test_the_same_evaluation_is_found_and_not_made_again(
    settings: Settings, pool: FakePool, versions: list[Version], engines: Engines
) -> None:
    first = run(settings, pool)
    asked = asked_of(engines)

    assert run(settings, pool, "phi3/2", "phi3/1").run.run_id == first.run.run_id
    assert asked_of(engines) == asked
    assert run(settings, pool, again=True).run.run_id != first.run.run_id
    assert asked_of(engines) == 2 * asked
    assert run(settings, pool, options={"max_tokens": 2}).of("phi3/1")["spain"].text == "Madrid it "
    assert len(results.search_evaluations(settings)) == 3
    assert results.search_evaluations(settings, "phi3/9") == []


def test_a_version_that_fails_leaves_the_rest_and_is_told(
    settings: Settings, pool: FakePool, versions: list[Version], engines: Engines
) -> None:
    prompt_sets.save_set(settings, "capitals", [*CAPITALS, item("four"), item("five")])
    engines["phi3/2"].fail_at = 2

    with pytest.raises(ServerError, match="5 of 10 answers are missing: .* The others are kept"):
        run(settings, pool)
    asked = len(engines["phi3/2"].asked)
    engines["phi3/2"].fail_at = None

    assert asked == 3, "after three failures in a row it is asked no more"
    assert run(settings, pool).run.complete


def test_a_prompt_that_is_refused_counts_as_failed_and_holds_nothing_up(
    settings: Settings, pool: FakePool, versions: list[Version], engines: Engines, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuses(messages: list[dict[str, str]]) -> str:
        if "France" in messages[-1]["content"]:
            raise BadInput("The template takes no such conversation.")
        return "x"

    monkeypatch.setattr(engines["phi3/1"], "prepare", refuses)

    found = run(settings, pool, "phi3/1")

    assert found.run.complete
    assert (found.of("phi3/1")["france"].failed, found.of("phi3/1")["spain"].failed) == (True, False)
    assert "no such conversation" in found.of("phi3/1")["france"].text


def test_a_model_whose_name_no_metric_may_have_is_evaluated(
    settings: Settings, pool: FakePool, engines: Engines
) -> None:
    fakes.register(settings, "a+b@home")
    engines["a+b@home/1"] = fakes.FakeEngine()

    found = run(settings, pool, "a+b@home/1")

    assert found.run.complete
    assert "a_b_home/1/contains" in mlflow_client(settings).get_run(found.run.run_id).data.metrics


def test_what_others_wrote_among_the_evaluations_breaks_no_list(
    settings: Settings, pool: FakePool, versions: list[Version]
) -> None:
    found = run(settings, pool, "phi3/1")
    home = experiment_id(settings, tags.EVALUATIONS)
    for of in (
        {},
        {tags.EVALUATION: "x", tags.ITEMS: "many"},
        {tags.EVALUATION: "x", tags.ITEMS: "1", tags.VERSIONS: "[1]"},
    ):
        mlflow_client(settings).create_run(home, tags=of)
    sets = experiment_id(settings, tags.PROMPT_SETS)
    mlflow_client(settings).create_run(sets, tags={tags.DIGEST: "x", tags.ITEMS: "many"})

    assert results.search_evaluations(settings) == [found.run]
    assert len(prompt_sets.search_sets(settings)) == 2


def test_an_answer_that_did_not_fit_counts_as_failed_and_holds_nothing_up(
    settings: Settings, pool: FakePool, versions: list[Version]
) -> None:
    long = Item("long", ({"role": "user", "content": "x" * 500},), {"contains": ["x"]})
    prompt_sets.save_set(settings, "capitals", [*CAPITALS, long])

    found = run(settings, pool, "phi3/1")

    assert found.run.complete
    assert (found.of("phi3/1")["long"].failed, found.of("phi3/1")["long"].scores) == (True, {"contains": False})


def test_who_may_not_or_names_no_version_is_told(settings: Settings, pool: FakePool, versions: list[Version]) -> None:
    with pytest.raises(Forbidden, match="needs the role reviewer"):
        run(settings, pool, person=Person("vera@example.org", "viewer"))
    with pytest.raises(NotFound, match="phi3 has no version 9"):
        run(settings, pool, "phi3/9")
    with pytest.raises(BadInput, match="takes one to 8 versions"):
        run(settings, pool, *["phi3/1"] * 9)
    with pytest.raises(NotFound, match="is no evaluation's id"):
        results.read_evaluation(settings, "../secrets")
    assert results.search_evaluations(settings) == []


def test_where_one_version_lost_is_named(
    settings: Settings, pool: FakePool, versions: list[Version], engines: Engines
) -> None:
    engines["phi3/2"].words = ("Paris",)

    found = run(settings, pool)

    change = found.compare("phi3/2", "phi3/1")["contains"]
    assert (change.better, change.worse, change.sure) == (1, 1, False)
    assert found.worse("phi3/2", "phi3/1", "contains") == ["spain"]


def test_it_is_kept_in_every_store(store: Settings, fresh: str, pool: FakePool, engines: Engines) -> None:
    fakes.register(store, fresh)
    engines[f"{fresh}/1"] = fakes.FakeEngine()
    prompt_sets.save_set(store, f"set {fresh}", CAPITALS)

    found = evaluate(store, pool, f"set {fresh}", [f"{fresh}/1"])  # type: ignore[arg-type]

    assert (found.run.complete, len(found.answers)) == (True, 3)
    assert found.of(f"{fresh}/1")["spain"].scores["contains"] is True
