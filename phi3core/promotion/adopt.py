"""Adoption: the aliases of a model that had none of the reserved ones come to say what MLflow's stages have said.

From then on the aliases decide. Where a person adopts, it is recorded as a promotion to the stage that the version is
in, with the policy as it is then; it blocks nothing, for the version is there already. What is still to be adopted when
another version is moved is recorded as found.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass

from phi3core.access import roles
from phi3core.access.roles import Person
from phi3core.errors import Conflict
from phi3core.promotion.policy.checks import Files, case_of, check
from phi3core.promotion.record import history as history_module
from phi3core.registry.models import Version
from phi3core.settings import Settings
from phi3core.store.client import notify_change

from .aliases import Snapshot, assign, locked, read_state
from .reconcile import RECONCILER, repair
from .record import writer
from .recorded import unadopted


@dataclass(frozen=True)
class _Adoption:
    version: Version
    stage: str
    files: Files


def adopt(settings: Settings, name: str, reason: str = "", person: Person | None = None) -> list[Version]:
    """Give the versions that are in Production and Staging by MLflow's stage alone their aliases.

    Returns them as they are from then on. Raises NotFound, Forbidden, StoreDown, and Conflict where there is nothing to
    adopt.
    """
    person = person or roles.local_person(settings)
    roles.require(person, "releaser", f"adopting the stages of {name}")
    snapshot = Snapshot(read_state(settings, name), history_module.read(settings, name))
    adoptions = _adoptions(settings, snapshot)
    for adoption in adoptions:  # what takes long is done before other promotions have to wait
        adoption.files.digest(adoption.stage)
    with locked(settings, name):
        snapshot = repair(settings, name, snapshot.history).snapshot
        wanted = {(adoption.version.version, adoption.stage) for adoption in adoptions}
        if not wanted or wanted != set(unadopted(snapshot.state, snapshot.history)):
            raise Conflict(f"No version of {name} is in Production or Staging by MLflow's stage alone (any more).")
        for adoption in adoptions:
            adoption.files.lock_taken()
            _assign(settings, adoption, snapshot, reason, person)
        repair(settings, name)  # other versions in the same stages leave them
    notify_change(settings, name)
    state = read_state(settings, name)
    return [state.version(adoption.version.version) for adoption in adoptions]


def adopt_others(settings: Settings, snapshot: Snapshot, number: int) -> Snapshot:
    """Adopt, before a version is moved, what is to be adopted of the others. The caller holds the model's lock.

    Else the first alias would decide for both stages, and take the other version out of its one.
    """
    state = snapshot.state
    others = [found for found in unadopted(state, snapshot.history) if found[0] != number]
    for other, stage in others:
        says = (
            f"{state.name}/{other} was in {stage} by MLflow's stage, set outside of this app. @{stage.lower()} was "
            f"pointed at it before {state.name}/{number} was moved."
        )
        with writer.opened(
            settings, RECONCILER, model=state.name, version=other, action="found", old="None", new=stage, reason=says
        ):
            assign(settings, state.name, stage.lower(), other)
    if not others:
        return snapshot
    return Snapshot(read_state(settings, state.name), history_module.read(settings, state.name))


def _adoptions(settings: Settings, snapshot: Snapshot) -> list[_Adoption]:
    found = []
    for number, stage in unadopted(snapshot.state, snapshot.history):
        version = snapshot.state.version(number)
        found.append(_Adoption(version, stage, Files(settings, version)))
    return found


def _assign(settings: Settings, adoption: _Adoption, snapshot: Snapshot, reason: str, person: Person) -> None:
    """Point the stage's alias at the version, with a record around it."""
    version, stage = adoption.version, adoption.stage
    checks = check(case_of(settings, version, stage, snapshot, adoption.files.read))
    digest, how = adoption.files.digest(stage)
    with writer.opened(
        settings, person, model=version.name, version=version.version, action="promote", old=stage, new=stage,
        reason=reason, digest=digest, checks=[*(asdict(line) for line in checks), *how],
    ) as record:  # fmt: skip
        assign(settings, version.name, stage.lower(), version.version)
        record.outcome = (
            f"{version.ref} was in {stage} by MLflow's stage alone. @{stage.lower()} points at it from now on."
        )
