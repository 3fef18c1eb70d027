"""What a benchmark came to: metrics of the version's run, and a tag that says how they were made."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import AwareDatetime, TypeAdapter, ValidationError

from phi3core import tags
from phi3core.registry.models import Version
from phi3core.settings import Settings
from phi3core.store.client import mlflow_client, translate_errors
from phi3core.timestamps import to_ms

INTERVAL = 1.96
"""Standard errors on each side of a 95 % interval."""


@dataclass(frozen=True)
class Value:
    """A metric of the harness. error: its standard error; None where the harness tells none."""

    value: float
    error: float | None

    @property
    def lower(self) -> float | None:
        """The lower end of the 95 % interval."""
        return None if self.error is None else self.value - INTERVAL * self.error


@dataclass(frozen=True)
class Score:
    """A suite's result.

    label: the suite, with the number of items where those are not all. task_version: as the harness tells it.
    data: where the items are from. metrics: by the harness's names; `metric` is the one that the suite is known by.
    """

    label: str
    suite: str
    metric: str
    metrics: dict[str, Value]
    items: int
    harness: str
    task_version: str
    seed: int
    data: str
    by: str
    when: AwareDatetime

    @property
    def main(self) -> Value:
        return self.metrics[self.metric]


_FORM = TypeAdapter(Score)


def values_of(results: Mapping[str, Any], task: str) -> dict[str, Value]:
    """The metrics of the harness's results, by name; a filter stands behind it where there are several."""
    found = results["results"][task]
    values = {}
    for key, value in found.items():
        name, sign, kind = key.partition(",")
        if not sign or name.endswith("_stderr") or not isinstance(value, int | float):
            continue
        error = found.get(f"{name}_stderr,{kind}")
        error = float(error) if isinstance(error, int | float) else None
        values[name if kind == "none" else f"{name},{kind}"] = Value(float(value), error)
    return values


def count_items(results: Mapping[str, Any]) -> int:
    """How many items were asked, over all tasks of a group."""
    return sum(int(told["effective"]) for told in results["n-samples"].values())


def metric_name(label: str, metric: str) -> str:
    """What a value is called among the metrics of the version's run."""
    return f"{tags.BENCHMARK_METRIC}{label}/{metric.replace(',', '.')}"


def record(settings: Settings, version: Version, score: Score) -> None:
    """Log a score with the version's run, all of it in one call. Raises StoreDown."""
    from mlflow.entities import Metric, RunTag

    when = to_ms(score.when)
    values: dict[str, float] = {}
    for metric, found in score.metrics.items():
        name = metric_name(score.label, metric)
        values[name] = found.value
        if found.error is not None:
            values |= {f"{name}_stderr": found.error, f"{name}_lower": found.lower or 0.0}
    with translate_errors(settings):
        mlflow_client(settings).log_batch(
            version.run_id,
            metrics=[Metric(name, value, when, 0) for name, value in values.items()],
            tags=[RunTag(f"{tags.BENCHMARK}{score.label}", _FORM.dump_json(score).decode())],
        )


def read_scores(settings: Settings, version: Version) -> list[Score]:
    """The version's scores, newest first. Raises StoreDown."""
    if not version.run_id:
        return []
    with translate_errors(settings):
        found = mlflow_client(settings).get_run(version.run_id)
    return scores_from_tags(found.data.tags.items())


def scores_from_tags(tag_values: Iterable[tuple[str, str]]) -> list[Score]:
    """What a run's tags record, newest first; what another program wrote there is left out."""
    found = []
    for key, value in tag_values:
        if key.startswith(tags.BENCHMARK):
            try:
                found.append(_FORM.validate_json(value))
            except ValidationError:
                continue
    return sorted(found, key=lambda score: score.when, reverse=True)
