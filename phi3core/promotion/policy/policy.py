"""What a promotion to a stage needs, per registered model: set by an admin, kept in the model's tag ``phi3.policy``.

How the lines are checked is in checking.py. A tag that can't be read, or is not what was recorded when it was set,
blocks: whoever damages or removes a policy must not open the way with it.
"""

from __future__ import annotations

import contextlib
import json
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Any, Final

from filelock import FileLock, Timeout

from phi3core import tags
from phi3core.access import roles
from phi3core.access.roles import Person
from phi3core.errors import BadInput, Conflict, NotFound
from phi3core.promotion.record import search, writer
from phi3core.promotion.record.trust import Trust
from phi3core.registry import artifacts
from phi3core.registry.models import Version
from phi3core.settings import Settings
from phi3core.store.client import mlflow_client, search_pages, translate_errors
from phi3core.text import plural

STAGES: Final = ("Production", "Staging")
"""The stages that can have a policy: a version can always leave them."""

MOST: Final = {"approvals": 100, "reviews": 1_000_000}
_LONGEST: Final = 2000  # characters of a policy in words: it goes into the record


@dataclass(frozen=True)
class Threshold:
    """A metric's limits, at least one of the two; both are allowed values."""

    metric: str
    at_least: float | None = None
    at_most: float | None = None


@dataclass(frozen=True)
class Policy:
    """What a version needs before it moves to a stage; what is left as it is here needs nothing.

    approvals: of the files as they are, by so many people. other_approver: one of them did not build the version, and
    nobody approves what he asked for himself. reviews: thumbs and votes that people gave. win_rate: 0 to 1, of the
    votes between it and the present Production. tags: ``key`` or ``key=value``. same_signature: as the present
    Production's. damage: why the policy can't be read, a sentence; such a one lets nothing through.
    """

    approvals: int = 0
    other_approver: bool = False
    reviews: int = 0
    win_rate: float | None = None
    metrics: tuple[Threshold, ...] = ()
    tags: tuple[str, ...] = ()
    same_signature: bool = False
    damage: str = ""


@dataclass(frozen=True)
class Check:
    """One line of a policy. says: the evidence, one sentence."""

    name: str
    met: bool
    says: str


def read(settings: Settings, model: str) -> dict[str, Policy]:
    """A model's policies by stage, {} when it has none. Raises NotFound where there is no such model.

    One that can't be read is given with its `damage`.
    """
    return _read(_tag(settings, model), model)


def every(settings: Settings) -> dict[str, dict[str, Policy]]:
    """The policies of all models that have one, in one call of the store for a thousand of them."""
    where = f"tags.`{tags.POLICY}` != ''"
    pages = search_pages(settings, lambda **page: mlflow_client(settings).search_registered_models(where, **page))
    return {model.name: _read(str(model.tags[tags.POLICY]), model.name) for page in pages for model in page}


def write(settings: Settings, model: str, stage: str, policy: Policy, person: Person, reason: str = "") -> None:
    """Set what a stage needs; a policy that needs nothing removes it. Recorded, with what was needed before.

    Raises Forbidden for who is no admin, BadInput for values that make no sense, NotFound, Conflict.
    """
    roles.require(person, "admin", f"setting the policy of {model}")
    stage, policy = _stage(stage), checked(replace(policy, damage=""))
    if len(words(policy)) > _LONGEST:
        raise BadInput(f"The policy has {len(words(policy)):,} characters in words. Make it shorter than {_LONGEST:,}.")
    with _locked(settings, model):
        before = read(settings, model)
        old, new = _told(stage, before.get(stage, Policy())), _told(stage, policy)
        with writer.opened(
            settings, person, model=model, version=None, action="set policy", old=old, new=new, reason=reason
        ):
            after = {**before, stage: policy}
            text = json.dumps({name: _plain(of) for name, of in after.items() if of != Policy()})
            with translate_errors(settings):
                mlflow_client(settings).set_registered_model_tag(model, tags.POLICY, text)
            if _tag(settings, model) != text:
                raise Conflict(f"Somebody else set a policy of {model} at this moment. Look, and set it again.")


def checklist(
    settings: Settings,
    version: Version,
    stage: str,
    look: bool = False,
    files: Callable[[], artifacts.ArtifactState] | None = None,
) -> list[Check]:
    """What the stage needs of the version, line by line with its evidence; [] where it needs nothing.

    Takes the digest of files that are elsewhere anew, which fetches them; look: compare those by name and size
    only, for a page. files: what gives their state instead, called where a line asks for it. Raises StoreDown.
    """
    from .checks import lines  # which builds upon what is here

    if stage not in STAGES:
        return []
    wanted = read(settings, version.name).get(stage, Policy())
    given = files or (lambda: artifacts.read_state(settings, version, fetch=not look))
    return lines(settings, version, stage, wanted, given)


def as_recorded(settings: Settings, model: str, stage: str, policy: Policy) -> str:
    """Why the policy is not the one that was last recorded, as a sentence; empty when it is."""
    trust = Trust(settings)
    for record in search.page(settings, model=model, action="set policy", status="done", limit=1000).records:
        if not record.new.startswith(f"{stage} needs ") or not trust.counts(record):
            continue
        if record.new == _told(stage, policy):
            return ""
        return (
            f"It was changed outside of this app: on {record.started:%Y-%m-%d %H:%M} UTC {record.user} set "
            f"“{record.new}”, and now it says “{_told(stage, policy)}”. An admin must set it again."
        )
    if policy == Policy():
        return ""
    return "It was set outside of this app: no record says who did. An admin must set it again."


def words(policy: Policy) -> str:
    """A policy in words, with everything that it says: ``2 approvals, tokens_per_second at least 20``."""
    parts = [_count(policy.approvals, "approval"), "an approver who is not the author" if policy.other_approver else ""]
    parts += [_count(policy.reviews, "review")]
    parts += [f"a win rate of {policy.win_rate:.12g} against Production" if policy.win_rate is not None else ""]
    for limit in policy.metrics:
        least = f" at least {limit.at_least!r}" if limit.at_least is not None else ""
        most = f" at most {limit.at_most!r}" if limit.at_most is not None else ""
        parts.append(f"{limit.metric}{least}{' and' if least and most else ''}{most}")
    parts += [f"the tag {tag}" for tag in policy.tags]
    parts += ["the signature of Production" if policy.same_signature else "", policy.damage]
    return ", ".join(part for part in parts if part) or "nothing"


# ---------------------------------------------------------------- what makes sense


def checked(policy: Policy) -> Policy:
    """The policy with its texts trimmed. Raises BadInput for what makes no sense."""
    for name, most in MOST.items():
        value = getattr(policy, name)
        if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= most:
            raise BadInput(f"{name} is “{value}”: write a whole number from 0 to {most:,}.")
    for name in ("other_approver", "same_signature"):
        if not isinstance(getattr(policy, name), bool):
            raise BadInput(f"{name} is “{getattr(policy, name)}”: write true or false.")
    if policy.win_rate is not None and not (_is_number(policy.win_rate) and 0 <= policy.win_rate <= 1):
        raise BadInput(f"win_rate is “{policy.win_rate}”: write a number from 0 to 1, such as 0.55.")
    limits = tuple(_limit(limit) for limit in policy.metrics)
    tags = tuple(_required_tag(tag) for tag in policy.tags)
    for what, names in (("metric", [limit.metric for limit in limits]), ("tag", [t.split("=")[0] for t in tags])):
        if twice := next((name for name in names if names.count(name) > 1), ""):
            raise BadInput(f"The {what} “{twice}” is named twice: write one line for it.")
    rate = None if policy.win_rate is None else float(policy.win_rate)
    return replace(policy, metrics=limits, tags=tags, win_rate=rate)


def _limit(limit: Threshold) -> Threshold:
    name = limit.metric.strip() if isinstance(limit.metric, str) else ""
    if not name:
        raise BadInput("A threshold names no metric: write which one it is about, such as tokens_per_second.")
    given = [value for value in (limit.at_least, limit.at_most) if value is not None]
    if not given:
        raise BadInput(f"The threshold on {name} has no limit: write at least, at most or both.")
    for value in given:
        if not _is_number(value):
            raise BadInput(f"The limit of {name} is “{value}”: write a number.")
    if len(given) == 2 and given[0] > given[1]:
        raise BadInput(f"{name} can't be at least {given[0]:g} and at most {given[1]:g}: no value is both.")
    least, most = (None if value is None else float(value) for value in (limit.at_least, limit.at_most))
    return Threshold(name, least, most)


def _required_tag(tag: Any) -> str:
    key, sign, value = tag.partition("=") if isinstance(tag, str) else ("", "", "")
    if not key.strip():
        raise BadInput(f"“{tag}” names no tag: write key, or key=value.")
    return f"{key.strip()}{sign}{value.strip()}"


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def _stage(text: str) -> str:
    stage = text.strip().capitalize()
    if stage not in STAGES:
        raise BadInput(f"“{text}” can have no policy. Those that can are {' and '.join(STAGES)}.")
    return stage


# ---------------------------------------------------------------- as it is kept


def _tag(settings: Settings, model: str) -> str:
    try:
        with translate_errors(settings):
            return str(mlflow_client(settings).get_registered_model(model).tags.get(tags.POLICY, ""))
    except NotFound as error:
        raise NotFound(f"There is no registered model “{model}”.") from error


def _plain(policy: Policy) -> dict[str, Any]:
    """What is not as in a new policy. A damaged one stays damaged, until it is set itself."""
    empty = asdict(Policy())
    return {name: value for name, value in asdict(policy).items() if value != empty[name]}


def _read(text: str, model: str) -> dict[str, Policy]:
    try:
        found = json.loads(text) if text else {}
        if not isinstance(found, dict) or (odd := [name for name in found if name not in STAGES]):
            raise ValueError(f"“{odd[0]}” is no stage" if isinstance(found, dict) else "it is no table")
    except ValueError as error:
        broken = Policy(damage=_damage(model, str(error)))
        return dict.fromkeys(STAGES, broken)
    return {stage: _one(value, model) for stage, value in found.items()}


def _one(value: Any, model: str) -> Policy:
    try:
        if not isinstance(value, Mapping):
            raise ValueError("it is no table")
        if odd := sorted(value.keys() - {field.name for field in fields(Policy)}):
            raise ValueError(f"nobody knows what “{odd[0]}” means")
        if value.get("damage"):
            return Policy(damage=str(value["damage"]))
        metrics = tuple(Threshold(**limit) for limit in value.get("metrics") or ())
        return checked(Policy(**{**value, "metrics": metrics, "tags": tuple(value.get("tags") or ())}))
    except (ValueError, TypeError, BadInput) as error:
        return Policy(damage=_damage(model, str(error)))


def _damage(model: str, why: str) -> str:
    return (
        f"The policy of {model} can't be read ({why.rstrip('.')[:200]}), so nothing passes. An admin must set it again."
    )


def _told(stage: str, policy: Policy) -> str:
    return f"{stage} needs {words(policy)}"


def _count(number: int, what: str) -> str:
    return f"{number} {plural(number, what)}" if number else ""


@contextlib.contextmanager
def _locked(settings: Settings, model: str) -> Iterator[None]:
    """Both stages stand in one tag: whoever sets one must not lose what another sets at this moment."""
    from phi3core import hashing

    try:
        with FileLock(settings.locks / f"policy-{hashing.hash_texts(model)[:16]}.lock", timeout=30):
            yield
    except Timeout as error:
        raise Conflict(f"Somebody else is setting a policy of {model}. Wait for it and try again.") from error
