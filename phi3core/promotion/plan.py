"""What a move to a stage will change, as data, before anything changes: shown in the dialogs, then applied."""

from __future__ import annotations

from dataclasses import dataclass

from phi3core import tags
from phi3core.errors import BadInput
from phi3core.registry.models import Version
from phi3core.settings import Settings
from phi3core.store.client import find_abilities

from .aliases import EXCLUSIVE_STAGES


@dataclass(frozen=True)
class Change:
    """A change of one version: of its stage, or of a reserved alias that it gets or loses."""

    ref: str
    what: str
    """``stage`` or ``alias``"""
    old: str
    new: str


@dataclass(frozen=True)
class Plan:
    """What a move changes.

    leaving: the versions that leave the stage for it, the alias's holder first. becomes: the stage of those from then
    on. vacated: the stage that no version is in from then on, or "". unguarded: the store has no aliases, so that it
    does not keep two versions from the stage by itself.
    """

    version: Version
    stage: str
    leaving: tuple[Version, ...]
    becomes: str
    vacated: str
    changes: tuple[Change, ...]
    unguarded: bool

    @property
    def replaced(self) -> Version | None:
        return self.leaving[0] if self.leaving else None


def stage_of(text: str) -> str:
    """A stage as MLflow writes it. Raises BadInput."""
    stage = text.strip().capitalize()
    if stage not in tags.STAGES:
        raise BadInput(f"“{text}” is not a stage. The stages are {', '.join(tags.STAGES)}.")
    return stage


def plan_move(
    settings: Settings, version: Version, stage: str, listed: list[Version], *, old: str = "Archived"
) -> Plan:
    """What moving a version changes. Raises BadInput for what is no stage, or none in this store.

    Args:
        listed: all versions of its model.
        old: the stage of the version that leaves, from then on: Archived or None.
    """
    stage, able = stage_of(stage), find_abilities(settings)
    if old not in ("Archived", "None"):
        raise BadInput(f"A version that leaves a stage becomes Archived or None, not “{old}”.")
    if not able.stages and stage == "Archived":
        raise BadInput(
            "This store has no stages: a version can have the alias @production or @staging, or neither. "
            "Move it to None instead."
        )
    leaving = _leaving(version, stage, listed) if stage in EXCLUSIVE_STAGES else ()
    becomes = old if able.stages else "None"
    changes = [
        Change(left.ref, "stage", left.mlflow_stage, becomes) for left in leaving if left.mlflow_stage != becomes
    ]
    if version.mlflow_stage != stage:
        changes.append(Change(version.ref, "stage", version.mlflow_stage, stage))
    moved = {version.version, *(left.version for left in leaving)}
    adopted = [other for other in listed if other.lacks_alias and other.version not in moved]
    if able.aliases:
        for alias, whose in tags.RESERVED_ALIASES.items():
            if whose == stage and alias not in version.aliases:
                changes.append(Change(version.ref, "alias", "", f"@{alias}"))
            if whose != stage and alias in version.aliases:
                changes.append(Change(version.ref, "alias", f"@{alias}", ""))
        changes += [Change(other.ref, "alias", "", f"@{other.stage.lower()}") for other in adopted]
    held = version.stage if version.stage in EXCLUSIVE_STAGES else ""
    return Plan(
        version, stage, leaving, becomes, held if held != stage else "", tuple(changes), unguarded=not able.aliases
    )


def _leaving(version: Version, stage: str, listed: list[Version]) -> tuple[Version, ...]:
    """The versions with the stage or its alias. One that has the other reserved alias too stays in that stage."""
    others = {alias for alias, whose in tags.RESERVED_ALIASES.items() if whose != stage}
    there = [
        other
        for other in listed
        if other.version != version.version
        and (stage.lower() in other.aliases or other.mlflow_stage == stage)
        and not others & set(other.aliases)
    ]
    return tuple(sorted(there, key=lambda other: (other.stage != stage, -other.version)))
