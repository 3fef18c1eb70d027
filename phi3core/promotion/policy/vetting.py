"""What lets a version move: the policy, the request that it carries out, and for a way back the files of that time.

Asked twice for each move: before anybody has to wait for it, and again when nobody else may move anything.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from phi3core.access import roles
from phi3core.access.roles import Person
from phi3core.errors import BadInput, Conflict, NotFound, PolicyUnmet, StoreDown, StoreError
from phi3core.promotion.files import Files
from phi3core.promotion.record import search
from phi3core.promotion.record.timeline import earlier
from phi3core.promotion.record.trust import Trust
from phi3core.registry import artifacts, reader
from phi3core.registry.models import Version
from phi3core.settings import Settings

from . import policy, requests
from .policy import Check

_LISTED = 100  # records of who came into Production, and of who left it


@dataclass(frozen=True)
class Vetted:
    """The policy's lines, the id of the request that is carried out, and the reason for going on all the same."""

    checks: list[Check]
    request: str = ""
    override: str = ""


def promotion(
    settings: Settings, version: Version, stage: str, person: Person, files: Files, override: str, request: str
) -> Vetted:
    """Raises PolicyUnmet where a line is not met and nobody who may overrides it; BadInput, Conflict, NotFound."""
    checks = policy.checklist(settings, version, stage, files=files.read)
    unmet = [f"{check.name}: {check.says}" for check in checks if not check.met]
    if override.strip():
        roles.require(person, "admin", "overriding a policy")
    elif unmet:
        raise PolicyUnmet(
            f"{version.ref} can't move to {stage}. The policy for {stage} is not met. {' '.join(unmet)} "
            "An admin can override it with a reason."
        )
    return Vetted(checks, _request(settings, version, stage, files, request, override), override)


def way_back(settings: Settings, version: Version, files: Files, reason: str, override: bool) -> Vetted:
    """Raises Conflict where the files are not those that were in Production, and nobody overrides that.

    NotFound where they are gone.
    """
    changed = _changed(settings, version, files.read)
    if changed and not override:
        raise Conflict(changed)
    # The policy's state is recorded, and blocks nothing.
    checks = policy.checklist(settings, version, "Production", look=True)
    return Vetted(checks, override=reason if changed else "")


def looks_changed(settings: Settings, version: Version) -> str:
    """Why a rollback to a version will be refused, as far as a look tells that fetches nothing; "" where nothing does.

    Raises StoreDown.
    """
    return _changed(settings, version, lambda: artifacts.read_state(settings, version))


def previous(settings: Settings, model: str) -> Version | None:
    """The version that a rollback puts into Production; None where the records know none that is still there.

    Raises Conflict where the records can't be vouched for.
    """
    versions = {version.version: version for version in reader.list_versions(settings, model)}
    here = next((number for number, version in versions.items() if "production" in version.aliases), None)
    came = search.page(settings, model=model, new="Production", status="done", limit=_LISTED).records
    left = search.page(settings, model=model, old="Production", status="done", limit=_LISTED).records
    if any(record.unproven for record in (*came, *left)):
        raise Conflict(
            f"The record of {model} is sealed with a key. Set PHI3_RECORD_KEY to roll back by it, or promote a version."
        )
    trust = Trust(settings)
    listed = earlier({record.id: record for record in (*came, *left) if trust.counts(record)}.values())
    return next((versions[number] for number in listed if number in versions and number != here), None)


# ---------------------------------------------------------------- inside


def _changed(settings: Settings, version: Version, state: Callable[[], artifacts.ArtifactState]) -> str:
    """Why a version's files are not known to be those that were in Production; "" where they are, or none are known."""
    found = search.page(
        settings, model=version.name, version=version.version, new="Production", status="done", limit=_LISTED
    ).records
    trust = Trust(settings)
    # What a look found has none: it knows where an alias is, and not which files it was meant for.
    digest = next((record.digest for record in found if record.digest and trust.counts(record)), "")
    if not digest:
        return ""
    try:
        now = state()
        if now.digest in ("", digest):
            return ""
        why = f"The files of {version.ref} are not those that were in Production: they were changed since."
    except StoreDown:
        raise
    except StoreError as error:
        why = f"Nobody can tell whether the files of {version.ref} are those that were in Production. {error}"
    return (
        f"{why} Promote another version, or build this one again; an admin can roll back to it all the same, and the "
        "reason is recorded as that for an override."
    )


def _request(settings: Settings, version: Version, stage: str, files: Files, given: str, override: str) -> str:
    """The id of the request that a promotion carries out: the given one, or one that waits for just this.

    Its approvals are of bytes: they are read and compared.
    """
    if given:
        request = requests.get(settings, given)
        if (request.model, request.version, request.stage) != (version.name, version.version, stage):
            raise BadInput(f"The request is for {request.ref} to {request.stage}, not for {version.ref} to {stage}.")
        if request.status in requests.WAITING:
            request = requests.get(settings, given, files.read())
        if request.status not in requests.WAITING:
            raise Conflict(f"The request of {request.by} is {request.status}. {request.why}".strip())
        return given
    asked = requests.latest(settings, version, stage)
    if asked is None or requests.get(settings, asked).status not in requests.WAITING:
        return ""
    try:
        return asked if requests.get(settings, asked, files.read()).status in requests.WAITING else ""
    except (NotFound, StoreError):
        if override.strip():  # whoever goes on against the policy carries out no request
            return ""
        raise
