"""What a promotion to a stage needs, per registered model: set by an admin, kept in the model's tag ``phi3.policy``.

How the lines are checked is in checks.py. A tag that can't be read, or is not what was recorded when it was set,
blocks: damaging or removing a policy must not open the way.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, Final

from filelock import FileLock, Timeout

from phi3core import hashing, tags
from phi3core.access import roles
from phi3core.access.roles import Person
from phi3core.errors import BadInput, Conflict, NotFound
from phi3core.promotion.record import writer
from phi3core.settings import Settings
from phi3core.store.client import mlflow_client, search_pages, translate_errors
from phi3core.text import plural
from phi3core.validation import validate

from .policy_table import PolicyTable

STAGES: Final = ("Production", "Staging")
"""The stages that can have a policy: a version can always leave them."""

_LONGEST: Final = 2000  # characters of a policy in words: it goes into the record


@dataclass(frozen=True)
class Threshold:
    """A metric's limits, at least one of the two; both are allowed values."""

    metric: str
    at_least: float | None = None
    at_most: float | None = None


@dataclass(frozen=True)
class ScoreLimit:
    """The least mean of a scorer over a prompt set, which is named with its whole digest."""

    prompt_set: str
    scorer: str
    at_least: float


@dataclass(frozen=True)
class Policy:
    """What a version needs before it moves to a stage; the default of each field needs nothing.

    approvals: of the files as they are, by so many people. other_approver: one of them did not build the version, and
    no person approves their own request. reviews: people who gave a thumb or a vote. win_rate: 0 to 1, of the
    votes between it and the present Production. tags: ``key`` or ``key=value``. same_signature: as the present
    Production's. review_win_rate: the least lower end of the interval of its win rate against the present Production,
    in a closed review. agreement: the least of the reviewers of such a review, Krippendorff's alpha. no_regression:
    prompt sets on which no scorer of quality is surely lower than the present Production's. damage: why the policy
    can't be read, a sentence; a damaged policy lets nothing through.
    """

    approvals: int = 0
    other_approver: bool = False
    reviews: int = 0
    win_rate: float | None = None
    metrics: tuple[Threshold, ...] = ()
    tags: tuple[str, ...] = ()
    same_signature: bool = False
    review_win_rate: float | None = None
    agreement: float | None = None
    no_regression: tuple[str, ...] = ()
    scores: tuple[ScoreLimit, ...] = ()
    damage: str = ""


@dataclass(frozen=True)
class Check:
    """One line of a policy. says: the evidence, one sentence. source: what it rests on, such as ``evaluation ID``."""

    name: str
    met: bool
    says: str
    source: str = ""


def read(settings: Settings, model: str) -> dict[str, Policy]:
    """A model's policies by stage, {} when it has none. Raises NotFound where there is no such model.

    One that can't be read is returned with its `damage`.
    """
    return parse(_tag(settings, model), model)


def every(settings: Settings) -> dict[str, dict[str, Policy]]:
    """The policies of all models that have one, in one call of the store for a thousand of them."""
    where = f"tags.`{tags.POLICY}` != ''"
    pages = search_pages(settings, lambda **page: mlflow_client(settings).search_registered_models(where, **page))
    return {model.name: parse(str(model.tags[tags.POLICY]), model.name) for page in pages for model in page}


def write(settings: Settings, model: str, stage: str, policy: Policy, person: Person, reason: str = "") -> None:
    """Set what a stage needs; a policy that needs nothing removes it. Recorded, with what was needed before.

    Raises Forbidden for a person who is no admin, BadInput for values that make no sense, NotFound, Conflict.
    """
    roles.require(person, "admin", f"setting the policy of {model}")
    stage, policy = _stage(stage), checked(replace(policy, damage=""))
    if len(words(policy)) > _LONGEST:
        raise BadInput(f"The policy has {len(words(policy)):,} characters in words. Make it shorter than {_LONGEST:,}.")
    with _locked(settings, model):
        before = read(settings, model)
        old, new = sentence(stage, before.get(stage, Policy())), sentence(stage, policy)
        with writer.opened(
            settings, person, model=model, version=None, action="set policy", old=old, new=new, reason=reason
        ):
            after = {**before, stage: policy}
            text = json.dumps({name: _plain(of) for name, of in after.items() if of != Policy()})
            with translate_errors(settings):
                mlflow_client(settings).set_registered_model_tag(model, tags.POLICY, text)
            if _tag(settings, model) != text:
                raise Conflict(f"Somebody else set a policy of {model} at this moment. Look, and set it again.")


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
    parts += ["the signature of Production" if policy.same_signature else ""]
    if policy.review_win_rate is not None:
        parts.append(f"a review won against Production with at least {policy.review_win_rate:.12g} for certain")
    parts += [f"an agreement of {policy.agreement:.12g} in it" if policy.agreement is not None else ""]
    parts += [f"no regression on {name}" for name in policy.no_regression]
    parts += [f"{limit.scorer} at least {limit.at_least!r} on {limit.prompt_set}" for limit in policy.scores]
    parts.append(policy.damage)
    return ", ".join(part for part in parts if part) or "nothing"


def named_tags(policies: Mapping[str, Policy]) -> frozenset[str]:
    """The tags that a model's policies, by stage, ask for."""
    return frozenset(tag.partition("=")[0] for one in policies.values() for tag in one.tags)


# ---------------------------------------------------------------- as it is kept


def checked(policy: Policy) -> Policy:
    """The policy with its texts trimmed. Raises BadInput for values that make no sense."""
    return _of_table(_plain(policy))


def parse(text: str, model: str) -> dict[str, Policy]:
    """The policies by stage that a model's tag holds; those that can't be read with their `damage`."""
    try:
        found = json.loads(text) if text else {}
        if not isinstance(found, dict) or (odd := [name for name in found if name not in STAGES]):
            raise ValueError(f"“{odd[0]}” is no stage" if isinstance(found, dict) else "it is no table")
    except ValueError as error:
        return dict.fromkeys(STAGES, Policy(damage=_damage(model, str(error))))
    return {stage: _parse_one(value, model) for stage, value in found.items()}


def sentence(stage: str, policy: Policy) -> str:
    """A policy as its record says it, such as ``Staging needs 2 approvals``."""
    return f"{stage} needs {words(policy)}"


def _parse_one(value: Any, model: str) -> Policy:
    if isinstance(value, dict) and value.get("damage"):
        return Policy(damage=str(value["damage"]))
    try:
        return _of_table(value)
    except BadInput as error:
        return Policy(damage=_damage(model, str(error)))


def _of_table(plain: Any) -> Policy:
    table = validate(PolicyTable, plain)
    limits = tuple(Threshold(limit.metric, limit.at_least, limit.at_most) for limit in table.metrics)
    return Policy(
        table.approvals, table.other_approver, table.reviews, table.win_rate, limits, tuple(table.tags),
        table.same_signature, table.review_win_rate, table.agreement, tuple(table.no_regression),
        tuple(ScoreLimit(limit.prompt_set, limit.scorer, limit.at_least or 0.0) for limit in table.scores),
    )  # fmt: skip


def _plain(policy: Policy) -> dict[str, Any]:
    """What differs from a new policy, as JSON has it. A damaged one stays damaged, until it is set itself."""
    values, empty = asdict(policy), asdict(Policy())
    changed = {name: value for name, value in values.items() if value != empty[name]}
    return {name: list(value) if isinstance(value, tuple) else value for name, value in changed.items()}


def _damage(model: str, why: str) -> str:
    return (
        f"The policy of {model} can't be read ({why.rstrip('.')[:200]}), so nothing passes. An admin must set it again."
    )


def _count(number: int, noun: str) -> str:
    return f"{number} {plural(number, noun)}" if number else ""


def _stage(text: str) -> str:
    stage = text.strip().capitalize()
    if stage not in STAGES:
        raise BadInput(f"“{text}” can have no policy. Those that can are {' and '.join(STAGES)}.")
    return stage


def _tag(settings: Settings, model: str) -> str:
    try:
        with translate_errors(settings):
            return str(mlflow_client(settings).get_registered_model(model).tags.get(tags.POLICY, ""))
    except NotFound as error:
        raise NotFound(f"There is no registered model “{model}”.") from error


@contextlib.contextmanager
def _locked(settings: Settings, model: str) -> Iterator[None]:
    """Both stages stand in one tag: two processes of this machine that set one each must not undo each other."""
    try:
        with FileLock(settings.locks / f"policy-{hashing.hash_texts(model)[:16]}.lock", timeout=30):
            yield
    except Timeout as error:
        raise Conflict(f"Somebody else is setting a policy of {model}. Wait for it and try again.") from error
