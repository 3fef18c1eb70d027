"""Under which conditions a version was measured: on what machine, how busy that was, and when.

Kept as tags of the version's source run, one for each step of the metrics that were measured; step 0 is the build's.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import AwareDatetime, Field, TypeAdapter, ValidationError

from phi3core import tags
from phi3core.text import plural

BUSY = 0.2
"""The load above which a measurement says more of the other programs than of the model."""


@dataclass(frozen=True)
class Conditions:
    """What was so while a version was measured.

    cpu: the CPU's model. cores: the machine's, as the system counts them. threads: those that computed. memory_bytes:
    the machine's. load: the share of the cores that other processes took meanwhile, 0 to 1; None where the system does
    not tell.
    """

    cpu: str
    cores: int
    threads: int
    memory_bytes: int
    load: Annotated[float, Field(ge=0, le=1)] | None
    when: AwareDatetime

    @property
    def busy(self) -> bool:
        """Whether other processes took so much that the model is faster than what was measured."""
        return self.load is not None and self.load > BUSY

    def __str__(self) -> str:
        """``AMD EPYC 9R14, 2 cores, 3 % busy, 28 Nov 2026``."""
        load = "" if self.load is None else f"{self.load * 100:.0f} % busy, "
        return f"{self.cpu}, {self.cores} {plural(self.cores, 'core')}, {load}{self.when.day} {self.when:%b %Y}"

    def as_tag(self, step: int) -> dict[str, str]:
        """The tag of the source run that records it with the metrics of a step."""
        return {f"{tags.MEASURED}{step}": _FORM.dump_json(self).decode()}

    def to_dict(self) -> dict[str, Any]:
        """A plain dictionary, the date in ISO 8601, for ``--json``."""
        plain: dict[str, Any] = _FORM.dump_python(self, mode="json")
        return plain


_FORM = TypeAdapter(Conditions)


def conditions_from_tags(tag_values: Mapping[str, str]) -> dict[int, Conditions]:
    """By step, in order, what a run's tags record; what was written there by another program is left out."""
    found = {}
    for key, value in tag_values.items():
        step = key.removeprefix(tags.MEASURED)
        if step != key and step.isdecimal():
            try:
                found[int(step)] = _FORM.validate_json(value)
            except ValidationError:
                continue
    return dict(sorted(found.items()))
