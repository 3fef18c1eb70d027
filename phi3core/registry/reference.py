"""Version references, as people and programs write them: ``name/3``, ``name@alias``, ``name/Production``.

MLflow writes ``models:/`` before them, which is read too. Reads and writes them; which version one means now is asked
of the store by reader.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from phi3core import tags
from phi3core.errors import BadInput

MLFLOW_SCHEME = "models:/"
"""What MLflow writes before a reference. No name begins so: a model's name holds neither “:” nor “/”."""


@dataclass(frozen=True)
class Reference:
    """What a person wrote to name a version: exactly one of number, alias and stage is set."""

    name: str
    number: int | None = None
    alias: str | None = None
    stage: str | None = None

    def __str__(self) -> str:
        """The one way to write it: a reserved alias as its stage, a number without zeros."""
        if self.number is not None:
            return f"{self.name}/{self.number}"
        return f"{self.name}/{self.named_stage}" if self.named_stage else f"{self.name}@{self.alias}"

    @property
    def named_stage(self) -> str:
        """The stage that it names, by the stage or by its reserved alias; else ""."""
        return self.stage or tags.RESERVED_ALIASES.get(self.alias or "", "")

    def number_in(self, aliases: Mapping[str, int], holders: Mapping[str, int]) -> int | None:
        """The number of the version that it names in its model, None where it names none.

        Args:
            aliases: the model's version numbers by alias.
            holders: the model's version numbers by stage.
        """
        if self.number is not None:
            return self.number
        return holders.get(self.named_stage) if self.named_stage else aliases.get(self.alias or "")


def parse_reference(text: str) -> Reference:
    """Read a reference, split at the last ``/`` or ``@``.

    Args:
        text: ``name/3``, ``name@alias`` or ``name/Production``, each with or without ``models:/`` before it.

    Raises:
        BadInput: the text names no version.
    """
    written = text.strip().removeprefix(MLFLOW_SCHEME)
    at = max(written.rfind("/"), written.rfind("@"))
    name, selector = written[:at].strip(), written[at + 1 :].strip()
    if at < 1 or not name or not selector:
        raise BadInput(f"“{text}” names no version. Write name/3, name@alias or name/Production.")
    if written[at] == "@":
        return Reference(name, alias=(tags.RESERVED_ALIASES.get(selector.lower()) and selector.lower()) or selector)
    if selector.isdecimal():
        return Reference(name, number=int(selector))
    stage = selector.capitalize()
    if stage in ("Production", "Staging"):
        return Reference(name, stage=stage)
    if stage in tags.STAGES:
        raise BadInput(f"Many versions can be {stage}: name one of them by its number, as in {name}/3.")
    raise BadInput(
        f"“{selector}” is neither a version number nor a stage. Write {name}/3, {name}/Production, {name}/Staging "
        f"or, for an alias, {name}@{selector}."
    )
