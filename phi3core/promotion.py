"""Writing the Model Registry: stages and aliases. Every page and command comes through here.

The alias is the truth and the stage follows it: an alias points at one version only, whereas MLflow lets
two versions be in Production at once. A promotion checks the request, takes a lock on this machine, opens
its record (a run that holds the whole intent), moves the alias, then the stages, reads everything back and
repairs until it agrees, and closes the record.
"""

from __future__ import annotations

import contextlib
import getpass
import re
from collections.abc import Iterator
from dataclasses import dataclass

from filelock import FileLock, Timeout

from . import keys, registry
from .errors import BadInput, Conflict, Phi3Error
from .registry import Version
from .settings import Settings
from .store import client, errors, experiment

_ATTEMPTS = 3


@dataclass(frozen=True)
class Promotion:
    """What a move changed: the version as it is now, and who left the stage for it."""

    version: Version
    stage: str
    replaced: Version | None
    record: str
    """The id of the run that records it."""


def promote(settings: Settings, ref: str, stage: str, reason: str = "", user: str = "") -> Promotion:
    """Move a version to a stage: None, Staging, Production or Archived.

    Whoever held Production or Staging is archived. Raises BadInput, NotFound, Conflict or StoreDown; when it
    raises, the record of the attempt is closed as failed.
    """
    target = stage.strip().capitalize()
    if target not in keys.STAGES:
        raise BadInput(f"“{stage}” is not a stage. The stages are {', '.join(keys.STAGES)}.")
    name = registry.split(ref).name
    with _locked(settings, name):
        version = registry.resolve(settings, ref)
        if version.status not in ("", "READY"):
            raise Conflict(f"{version.ref} is not ready ({version.status}): wait until it is, or build it again.")
        replaced = _holder(settings, version, target)
        with _record(settings, version, "stage", version.stage, target, replaced, reason, user) as record:
            for _ in range(_ATTEMPTS):
                _move_aliases(settings, version, target)
                _move_stages(settings, version, target)
                if wrong := disagreements(settings, name):
                    continue
                return Promotion(registry.resolve(settings, version.ref), target, replaced, record)
            raise Conflict(f"Somebody else is promoting {name} at this moment: {' '.join(wrong)} Look, and try again.")


def set_alias(settings: Settings, ref: str, alias: str, reason: str = "", user: str = "") -> Version:
    """Point an alias at a version; it leaves the version that had it. Raises BadInput for a reserved name."""
    _check_alias(alias)
    name = registry.split(ref).name
    with _locked(settings, name):
        version = registry.resolve(settings, ref)
        with _record(settings, version, "set alias", "", f"@{alias}", None, reason, user):
            _point(settings, version, alias)
        return registry.resolve(settings, version.ref)


def delete_alias(settings: Settings, name: str, alias: str, reason: str = "", user: str = "") -> None:
    """Remove an alias from the version it points at. Raises NotFound, or BadInput for a reserved name."""
    _check_alias(alias)
    with _locked(settings, name):
        version = registry.resolve(settings, f"{name}@{alias}")
        with (
            _record(settings, version, "delete alias", f"@{alias}", "", None, reason, user),
            errors(settings),
        ):
            client(settings).delete_registered_model_alias(name, alias)


def disagreements(settings: Settings, name: str) -> list[str]:
    """Sentences about a model's stages that do not follow the aliases; empty when all agree."""
    return disagreeing(registry.versions(settings, name))


def disagreeing(versions: list[Version]) -> list[str]:
    """The same for all versions of a model that were read already."""
    found = []
    for version in versions:
        right = _stage_of(version)
        if right and version.stage != right:
            found.append(f"{version.ref} has the alias @{right.lower()} but the stage {version.stage}.")
        if not right and version.stage in ("Production", "Staging"):
            found.append(f"{version.ref} has the stage {version.stage} but not the alias @{version.stage.lower()}.")
    return found


def _stage_of(version: Version) -> str:
    """The stage its reserved aliases demand; Production wins; empty when it has neither."""
    return next((stage for alias, stage in keys.RESERVED_ALIASES.items() if alias in version.aliases), "")


def _holder(settings: Settings, version: Version, stage: str) -> Version | None:
    alias = stage.lower()
    if alias not in keys.RESERVED_ALIASES:
        return None
    holders = [v for v in registry.versions(settings, version.name) if alias in v.aliases]
    return next((holder for holder in holders if holder.version != version.version), None)


def _move_aliases(settings: Settings, version: Version, stage: str) -> None:
    """The version gets its stage's alias first, so that there is a holder at every moment; then it loses the other."""
    store = client(settings)
    now = registry.resolve(settings, version.ref)
    if stage.lower() in keys.RESERVED_ALIASES and stage.lower() not in now.aliases:
        _point(settings, version, stage.lower())
    with errors(settings):
        for alias in keys.RESERVED_ALIASES:
            if alias in now.aliases and alias != stage.lower():
                store.delete_registered_model_alias(version.name, alias)


def _point(settings: Settings, version: Version, alias: str) -> None:
    """Point an alias at a version. Where two create it at once, MLflow fails one of them: it tries again."""
    for attempt in range(_ATTEMPTS):
        try:
            with errors(settings):
                client(settings).set_registered_model_alias(version.name, alias, str(version.version))
            return
        except Conflict:
            if attempt == _ATTEMPTS - 1:
                raise


def _move_stages(settings: Settings, version: Version, stage: str) -> None:
    """Every other version in Production or Staging without the alias is archived; the version itself moves."""
    store = client(settings)
    listed = registry.versions(settings, version.name)
    with errors(settings):
        for other in listed:
            right = stage if other.version == version.version else _stage_of(other)
            if not right and other.stage in ("Production", "Staging"):
                right = "Archived"
            if right and other.stage != right:
                # Never archive_existing_versions: it reads, then writes, and asking for it on None is an error.
                store.transition_model_version_stage(version.name, str(other.version), right)


@contextlib.contextmanager
def _locked(settings: Settings, name: str) -> Iterator[None]:
    safe = re.sub(r"[^\w.-]", "_", name)
    try:
        with FileLock(settings.locks / f"promote-{safe}.lock", timeout=30):
            yield
    except Timeout as error:
        raise Conflict(f"Another promotion of {name} has been running for 30 s. Wait for it and try again.") from error


@contextlib.contextmanager
def _record(
    settings: Settings,
    version: Version,
    action: str,
    old: str,
    new: str,
    replaced: Version | None,
    reason: str,
    who: str,
) -> Iterator[str]:
    """A run in the experiment of promotions: open while the change is under way, then finished or failed."""
    store = client(settings)
    home = experiment(settings, keys.PROMOTIONS)
    tags = {
        keys.ACTION: action,
        keys.MODEL_NAME: version.name,
        keys.VERSION: str(version.version),
        keys.FROM: old,
        keys.TO: new,
        keys.REASON: reason,
        keys.USER: who or getpass.getuser(),
        "phi3.replaced": replaced.ref if replaced else "",
    }
    with errors(settings):
        title = f"{version.ref}: {action} {new or old}"
        run = store.create_run(home, tags=tags, run_name=title)
    try:
        yield run.info.run_id
    except BaseException as error:
        with contextlib.suppress(Phi3Error), errors(settings):
            store.set_tag(run.info.run_id, "phi3.error", str(error)[:500])
            store.set_terminated(run.info.run_id, "FAILED")
        raise
    with errors(settings):
        store.set_terminated(run.info.run_id, "FINISHED")


def _check_alias(alias: str) -> None:
    if alias.lower() in keys.RESERVED_ALIASES:
        stage = keys.RESERVED_ALIASES[alias.lower()]
        raise BadInput(f"@{alias} is reserved: it marks the version in {stage}. Move a version to {stage} instead.")
    if alias.lower() == "latest" or re.fullmatch(r"[vV]\d+", alias):
        raise BadInput(f"@{alias} is reserved by MLflow. Choose another name, such as champion.")
    if not re.fullmatch(r"[A-Za-z0-9_-][\w.-]*", alias):
        raise BadInput("An alias is made of letters, digits, “_”, “-” and “.”, such as champion.")
