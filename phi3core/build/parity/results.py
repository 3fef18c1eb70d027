"""What came of a comparison, as data and as the artifact that it is kept in."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from pydantic import AwareDatetime, TypeAdapter, ValidationError

from phi3core import tags
from phi3core.registry.models import Version
from phi3core.settings import Settings
from phi3core.store.client import mlflow_client, translate_errors

from .statistics import Figures

SOURCE = "source"
"""The name of the base that is the weights which a version was built from."""
_FOLDER = "parity"


@dataclass(frozen=True)
class GreedyAnswer:
    """A prompt that both answer greedily. parted: the token at which they part, from 0; None where they never do.

    tokens: of the compared model's answer. text: that answer. base_token, token: what either says where they part.
    """

    prompt: str
    tokens: int
    parted: int | None
    text: str
    base_token: str = ""
    token: str = ""


@dataclass(frozen=True)
class Report:
    """What two models made of the same texts. kinds: by kind of text; kl: the divergence of each of its tokens."""

    figures: Figures
    kinds: dict[str, Figures]
    kl: dict[str, list[float]]
    answers: list[GreedyAnswer]

    @property
    def same_answers(self) -> int:
        return sum(answer.parted is None for answer in self.answers)


@dataclass(frozen=True)
class Parity:
    """A report of a version. ref: the version. base: another version, or `SOURCE`. base_says: the base in words."""

    ref: str
    base: str
    base_says: str
    when: AwareDatetime
    seconds: float
    report: Report

    @property
    def metrics(self) -> dict[str, float]:
        """The metrics of the version's run, of a comparison with its source."""
        found = self.report.figures
        return {
            tags.PARITY_KL: found.kl.value,
            tags.PARITY_KL_HIGH: found.kl.high,
            tags.PARITY_KL_P99: found.kl_p99,
            tags.PARITY_SAME_TOP: found.same_top.value,
            tags.PARITY_PERPLEXITY: found.perplexity.value,
            tags.PARITY_RATIO: found.ratio.value,
        }

    def to_json(self) -> str:
        return _FORM.dump_json(self, indent=1).decode()

    def to_dict(self) -> dict[str, Any]:
        plain: dict[str, Any] = _FORM.dump_python(self, mode="json")
        return plain


_FORM = TypeAdapter(Parity)
REPORT = TypeAdapter(Report)


def artifact_name(base: str) -> str:
    """The artifact of a version's run with the newest comparison with a base."""
    return f"{_FOLDER}/{re.sub(r'[^A-Za-z0-9.-]+', '-', base)}.json"


def read_results(settings: Settings, version: Version) -> list[Parity]:
    """The newest comparison of a version with each base, the one with its source first.

    What other programs have put in their place is left out. Raises StoreError, StoreDown.
    """
    import mlflow

    if not version.run_id:
        return []
    store = mlflow_client(settings)
    with translate_errors(settings):
        root = store.get_run(version.run_id).info.artifact_uri
        names = [file.path for file in store.list_artifacts(version.run_id, _FOLDER)]
        found = [_parse(mlflow.artifacts.load_text(f"{root}/{name}")) for name in names if name.endswith(".json")]
    return sorted(_known(found), key=lambda parity: (parity.base != SOURCE, parity.base))


def _parse(text: str) -> Parity | None:
    try:
        return _FORM.validate_json(text)
    except ValidationError:
        return None


def _known(found: Iterable[Parity | None]) -> list[Parity]:
    return [parity for parity in found if parity]
