"""Reviews of made-up answers: an evaluation whose traces are written without asking anybody, and people who review."""

from __future__ import annotations

import json

from phi3core import tags
from phi3core.access.roles import Person
from phi3core.evaluation import evidence, prompt_sets
from phi3core.evaluation.items import Item
from phi3core.evaluation.reviews import board, create, items, queue, votes
from phi3core.evaluation.reviews.plan import Plan
from phi3core.evaluation.reviews.queue import Turn
from phi3core.evaluation.reviews.review import Review
from phi3core.settings import Settings
from phi3core.store.client import experiment_id, mlflow_client
from phi3core.traces import trace_search, turn_trace
from phi3core.traces.turn import Turn as ChatTurn
from tests.evaluation.sets import item
from tests.support.judging import ADA, BOB, EVE

OWNER = Person("olga@example.org", "reviewer")
TRIO = (ADA, BOB, EVE)


def evaluated(
    settings: Settings, refs: tuple[str, ...] = ("phi3/1", "phi3/2"), count: int = 3, name: str = "asked"
) -> str:
    """A complete evaluation of so many items: the id of its run. Each answer is the version's own."""
    asked = [item(f"i{number}", f"Question {number}?") for number in range(count)]
    found = prompt_sets.save_set(settings, name, asked, OWNER)
    store, home = mlflow_client(settings), experiment_id(settings, tags.EVALUATIONS)
    of = {tags.EVALUATION: "made up", tags.PROMPT_SET: found.ref, tags.ITEMS: str(count)}
    of |= {tags.DIGESTS: json.dumps(evidence.read_digests(settings, refs))}
    run_id = str(store.create_run(home, tags=of | {tags.VERSIONS: json.dumps(refs)}).info.run_id)
    for ref in refs:
        for one in asked:
            _answer(settings, home, run_id, ref, one)
    store.set_terminated(run_id)
    return run_id


def _answer(settings: Settings, home: str, run_id: str, ref: str, asked: Item) -> None:
    turn = ChatTurn(asked.prompt, ref, answer=f"Version {ref[-1]} says: {asked.prompt}", state="done")
    info = turn_trace.make_info(turn, home, {trace_search.RUN: run_id, tags.ITEM: asked.id})
    turn_trace.write_traces(settings, [turn_trace.make_trace(turn, list(asked.messages), info)])


def made(settings: Settings, evaluation: str = "", person: Person = OWNER, **plan: object) -> Review:
    """A review, pairwise unless said otherwise."""
    asked = Plan("Is 2 fit to replace 1?", **plan)  # type: ignore[arg-type]
    return create.create(settings, asked, evaluation or evaluated(settings), person)


def forget() -> None:
    """What this process knows of all reviews."""
    board._boards.clear()
    items._kept.clear()


def judge(
    settings: Settings, review: Review, person: Person, value: str | int = "first", most: int = 1000, comment: str = ""
) -> list[Turn]:
    """Have a person judge what waits for them, all alike: what they judged, in order."""
    done: list[Turn] = []
    while len(done) < most and (turn := queue.find_next(settings, review, person)) is not None:
        values = dict.fromkeys(review.plan.per_answer, value)
        votes.cast(settings, review, turn, person, values, comment)
        done.append(turn)
    return done
