"""What came of an evaluation: every version's answer to every item, with its scores, and what follows from them.

All of it is read from the store: the run says what was evaluated, the traces of its answers hold the rest.
"""

from __future__ import annotations

import contextlib
import csv
import io
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from phi3core import tags
from phi3core.errors import NotFound
from phi3core.settings import Settings
from phi3core.store.client import experiment_id, mlflow_client, search_pages, translate_errors
from phi3core.text import spreadsheet_cell
from phi3core.traces import trace_search, turn_trace
from phi3core.traces.trace_search import RUN
from phi3core.traces.turn import Turn

from . import statistics
from .pulse import Progress, progress_of
from .scorers import JUDGED, NAMES, QUALITY, SCORERS, Score
from .statistics import Difference, Mean

if TYPE_CHECKING:
    from mlflow.entities import Run, TraceInfo

_RUN_ID = r"[0-9a-f]{32}"


@dataclass(frozen=True)
class ScoredAnswer:
    """A version's answer to an item. text: its first 1,000 characters, or why it failed. trace_id: of its trace.

    words: what the judge said, by the name of the score, which is missing where these words are no verdict.
    tokens: read and written, 0 where they were not counted.
    """

    item: str
    ref: str
    question: str
    text: str
    failed: bool
    scores: dict[str, Score]
    trace_id: str
    words: dict[str, str] = field(default_factory=dict)
    tokens: int = 0


@dataclass(frozen=True)
class EvaluationRun:
    """An evaluation as its run tells it. prompt_set: ``name@digest``. items: how many the set has.

    refs: what was evaluated. complete: every item was answered by all of them. when: milliseconds since 1970.
    judge: the version or endpoint that judged the answers last, if any did. options: what was asked with.
    progress: how far it is, where it is made at this moment, on whichever machine.
    """

    run_id: str
    prompt_set: str
    items: int
    refs: tuple[str, ...]
    by: str
    when: int
    complete: bool
    judge: str = ""
    options: Mapping[str, Any] = field(default_factory=dict)
    progress: Progress | None = None


@dataclass(frozen=True)
class Evaluation:
    """An evaluation with its answers, in the order of the items' ids."""

    run: EvaluationRun
    answers: tuple[ScoredAnswer, ...]
    _by_version: dict[str, dict[str, ScoredAnswer]] = field(default_factory=dict, repr=False, compare=False)
    _means: dict[str, dict[str, Mean]] = field(default_factory=dict, repr=False, compare=False)
    _differences: dict[tuple[str, str], dict[str, Difference]] = field(default_factory=dict, repr=False, compare=False)

    @property
    def items(self) -> list[str]:
        """The ids of the items that were answered, in order."""
        return sorted({answer.item for answer in self.answers})

    def of(self, ref: str) -> dict[str, ScoredAnswer]:
        """A version's answers by item."""
        if ref not in self._by_version:
            self._by_version[ref] = {answer.item: answer for answer in self.answers if answer.ref == ref}
        return self._by_version[ref]

    def cost(self, ref: str) -> tuple[float, int]:
        """What a version's answers took: seconds, all answers together, and tokens, read and written."""
        own = self.of(ref).values()
        return sum(float(answer.scores.get("seconds", 0)) for answer in own), sum(answer.tokens for answer in own)

    def means(self, ref: str) -> dict[str, Mean]:
        """A version's mean by scorer, of the scorers that applied to an item."""
        if ref in self._means:
            return self._means[ref]
        scores: dict[str, list[Score]] = {}
        for answer in self.of(ref).values():
            for name, value in answer.scores.items():
                scores.setdefault(name, []).append(value)
        self._means[ref] = {name: statistics.mean(scores[name]) for name in NAMES if name in scores}
        return self._means[ref]

    def compare(self, ref: str, other: str) -> dict[str, Difference]:
        """One version against another by the scorers of quality, over the items that both answered."""
        if (ref, other) in self._differences:
            return self._differences[ref, other]
        self._differences[ref, other] = compare_answers(self.of(ref), self.of(other))
        return self._differences[ref, other]

    def worse(self, ref: str, other: str, scorer: str) -> list[str]:
        """The items on which the first one's score is the lower one."""
        return worse_items(self.of(ref), self.of(other), scorer)


Answers = Mapping[str, ScoredAnswer]
"""A version's answers by item."""


def compare_answers(one: Answers, other: Answers) -> dict[str, Difference]:
    """One version's answers against another's by the scorers of quality, over the items that both answered.

    They may be of two evaluations: an item under whose id something else is asked is left out.
    """
    pairs: dict[str, list[tuple[Score, Score]]] = {name: [] for name in QUALITY}
    for item in sorted(one.keys() & other.keys()):
        for name in QUALITY if one[item].question == other[item].question else ():
            if name in one[item].scores and name in other[item].scores:
                pairs[name].append((one[item].scores[name], other[item].scores[name]))
    return statistics.compare(pairs)


def worse_items(one: Answers, other: Answers, scorer: str) -> list[str]:
    """The items on which the first one's score is the lower one."""
    both = sorted(item for item in one.keys() & other.keys() if one[item].question == other[item].question)
    return [
        item
        for item in both
        if scorer in one[item].scores and one[item].scores[scorer] < other[item].scores.get(scorer, float("-inf"))
    ]


def search_evaluations(settings: Settings, ref: str = "") -> list[EvaluationRun]:
    """The evaluations in the store, newest first. ref: only those of this version."""
    home = experiment_id(settings, tags.EVALUATIONS)

    def search(**page: Any) -> Any:
        return mlflow_client(settings).search_runs([home], order_by=["attributes.start_time DESC"], **page)

    found = [one for page in search_pages(settings, search) for run in page if (one := _found(run))]
    return [one for one in found if not ref or ref in one.refs]


def read_run(settings: Settings, run_id: str) -> EvaluationRun:
    """An evaluation without its answers. Raises NotFound or StoreDown."""
    if not re.fullmatch(_RUN_ID, run_id):
        raise NotFound(f"“{run_id[:60]}” is no evaluation's id. “python -m phi3core evaluations” lists them.")
    with translate_errors(settings):
        run = mlflow_client(settings).get_run(run_id)
    if (described := _found(run)) is None:
        raise NotFound(f"The run {run_id} is no evaluation.")
    return described


def read_evaluation(settings: Settings, run_id: str) -> Evaluation:
    """An evaluation with its answers so far. Raises NotFound or StoreDown."""
    described = read_run(settings, run_id)
    found = [_answer(info, described.judge) for info in answers_of(settings, run_id)]
    return Evaluation(described, tuple(sorted(found, key=lambda answer: (answer.item, answer.ref))))


def written_answers_of(settings: Settings, run_id: str) -> set[str]:
    """The ids of the traces that were written whole; a killed process may leave others without their span."""
    found = trace_search.search_traces(settings, of_run(run_id), page=100, experiment=tags.EVALUATIONS)
    return {trace.info.trace_id for trace in found if trace.data.spans}


def turns_of(settings: Settings, run_id: str) -> Iterator[tuple[str, Turn]]:
    """All that is known of each answer, with the item that was asked. Raises StoreDown."""
    for found in trace_search.search_traces(settings, of_run(run_id), page=100, experiment=tags.EVALUATIONS):
        with contextlib.suppress(KeyError, IndexError, TypeError, ValueError):  # a trace that another program wrote
            yield found.info.trace_metadata[tags.ITEM], turn_trace.read_turn(found)


def answers_of(settings: Settings, run_id: str) -> Iterator[TraceInfo]:
    """The traces of an evaluation's answers, without what is in them."""
    return trace_search.search_infos(settings, of_run(run_id), experiment=tags.EVALUATIONS)


def of_run(run_id: str) -> str:
    """A filter for the traces of one evaluation."""
    return f"metadata.`{RUN}` = '{run_id}'"


def to_csv(found: Evaluation) -> str:
    """All answers with their scores, a line each."""
    out = io.StringIO()
    table = csv.writer(out)
    table.writerow(["item", "version", "question", "answer", "failed", "tokens", *NAMES])
    for one in found.answers:
        scores = [one.scores.get(name, "") for name in NAMES]
        table.writerow(
            map(spreadsheet_cell, [one.item, one.ref, one.question, one.text, one.failed, one.tokens, *scores])
        )
    return out.getvalue()


def to_jsonl(found: Evaluation) -> str:
    """All answers with their scores, a JSON object each."""
    return "".join(json.dumps(asdict(answer), ensure_ascii=False) + "\n" for answer in found.answers)


def _found(run: Run) -> EvaluationRun | None:
    """What a run's tags tell; None where they are not those of an evaluation: anybody may write to the store."""
    known = run.data.tags
    try:
        refs = json.loads(known[tags.VERSIONS])
        items = int(known[tags.ITEMS])
        options = json.loads(known.get(tags.OPTIONS, "{}"))
    except (KeyError, ValueError, RecursionError):
        return None
    if tags.EVALUATION not in known or not isinstance(refs, list) or not all(isinstance(ref, str) for ref in refs):
        return None
    progress = progress_of(known)
    return EvaluationRun(
        run.info.run_id,
        known.get(tags.PROMPT_SET, ""),
        items,
        tuple(refs),
        known.get(tags.USER, ""),
        run.info.start_time,
        run.info.status == "FINISHED",
        known.get(tags.JUDGE, ""),
        options if isinstance(options, dict) else {},
        progress if progress and progress.fresh and run.info.status == "RUNNING" else None,
    )


def _answer(info: TraceInfo, judge: str) -> ScoredAnswer:
    scores: dict[str, Score] = {}
    words: dict[str, str] = {}
    for given in info.assessments or []:
        value = getattr(given, "value", None)
        if given.name in JUDGED and (given.source.source_type, given.source.source_id) == ("LLM_JUDGE", judge):
            error = getattr(given, "error", None)
            words[given.name] = (error.error_message if error else given.rationale) or ""
            if isinstance(value, bool):
                scores[given.name] = value
        if given.name in SCORERS and given.source.source_type == "CODE" and isinstance(value, bool | int | float):
            scores[given.name] = value if isinstance(value, bool) else float(value)
    return ScoredAnswer(
        info.trace_metadata.get(tags.ITEM, ""),
        info.tags.get(tags.VERSION, ""),
        info.request_preview or "",
        info.response_preview or "",
        str(info.state) in ("ERROR", "TraceState.ERROR"),
        scores,
        info.trace_id,
        words,
        _tokens(info),
    )


def _tokens(info: TraceInfo) -> int:
    try:
        return int(json.loads(info.trace_metadata["mlflow.trace.tokenUsage"])["total_tokens"])
    except (KeyError, ValueError, TypeError):
        return 0
