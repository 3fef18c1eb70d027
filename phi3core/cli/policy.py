"""The policy that a promotion needs to meet, and whether a version meets it."""

from __future__ import annotations

import json
import re
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import click

from phi3core.errors import BadInput
from phi3core.settings import Settings, load_settings

from .group import REF_HELP, main
from .outcome import JUNIT_HELP, check_policy, tell

_STAGES = click.Choice(["Production", "Staging"], case_sensitive=False)


@main.group()
def policy() -> None:
    """What a promotion needs, for each registered model and stage."""


@policy.command()
@click.argument("model")
@click.option("--json", "as_json", is_flag=True, help="Print JSON, by stage.")
def show(model: str, as_json: bool) -> None:
    """Print the policies of MODEL."""
    from phi3core.promotion.policy import policy as policies

    found = policies.read(load_settings(), model)
    if as_json:
        click.echo(json.dumps({stage: asdict(wanted) for stage, wanted in found.items()}, indent=2))
    elif not found:
        click.echo(f"{model} has no policy: a promotion needs nothing.")
    else:
        for stage, wanted in found.items():
            click.echo(f"{stage} needs {policies.words(wanted)}.")


@policy.command("set")
@click.argument("model")
@click.argument("stage", type=_STAGES)
@click.option("--approvals", type=click.IntRange(min=0), help="How many approvals.")
@click.option("--other-approver/--any-approver", default=None, help="One approver is not the author.")
@click.option("--reviews", type=click.IntRange(min=0), help="How many reviews.")
@click.option("--win-rate", help="At least this share of votes against Production: 0 to 1, or none.")
@click.option("--metric", "metrics", multiple=True, help="“name>=20” or “name<=50”; several times; replaces all.")
@click.option("--tag", "tags", multiple=True, help="A tag it must have, “name” or “name=value”; replaces all.")
@click.option("--same-signature/--any-signature", default=None, help="The signature of the present Production.")
@click.option("--review-win-rate", help="The least that a closed review says for certain: 0 to 1, or none.")
@click.option("--agreement", help="The least agreement in it, Krippendorff's alpha: 0 to 1, or none.")
@click.option("--no-regression", multiple=True, metavar="SET", help="Nothing surely lower on it; replaces all.")
@click.option("--score", "scores", multiple=True, metavar="SET:SCORER>=X", help="A least mean; replaces all.")
@click.option("--nothing", is_flag=True, help="Begin with a policy that needs nothing.")
@click.option("--reason", default="", help="Why; kept on the record.")
def set_policy(model: str, stage: str, nothing: bool, reason: str, **wanted: Any) -> None:
    """Change what MODEL needs before STAGE; what is not named stays as it is."""
    from phi3core.access import roles
    from phi3core.promotion.policy import policy as policies

    config = load_settings()
    before = policies.Policy() if nothing else policies.read(config, model).get(stage, policies.Policy())
    changed: dict[str, Any] = {name: value for name, value in wanted.items() if value not in (None, ())}
    if metrics := changed.get("metrics"):
        changed["metrics"] = tuple(_threshold(text) for text in metrics)
    for name in ("win_rate", "review_win_rate", "agreement"):
        if rate := changed.get(name):
            changed[name] = None if rate.lower() == "none" else _share(rate)
    if sets := changed.get("no_regression"):
        changed["no_regression"] = tuple(_whole_ref(config, ref) for ref in sets)
    if scores := changed.get("scores"):
        changed["scores"] = tuple(_score(config, text) for text in scores)
    if not changed and not nothing:
        raise BadInput("Say what the policy needs, such as --approvals 1. “policy set --help” lists all there is.")
    policies.write(config, model, stage, replace(before, **changed), roles.local_person(config), reason)
    click.echo(f"The policy of {model} for {stage} is saved.")


@policy.command(help=f"Tell whether a version meets the policy of a stage; exit status 1 where it does not. {REF_HELP}")
@click.argument("ref")
@click.option("--stage", type=_STAGES, default="Production", show_default=True)
@click.option("--junit", type=click.Path(path_type=Path), default=None, help=JUNIT_HELP)
def check(ref: str, stage: str, junit: Path | None) -> None:
    """Every line of it, with the evidence. Files that are elsewhere are fetched for it."""
    tell(check_policy(load_settings(), [ref], stage), junit)


def _score(config: Settings, text: str) -> Any:
    from phi3core.evaluation.scorers import JUDGED, check_name
    from phi3core.promotion.policy.policy import ScoreLimit

    found = re.fullmatch(r"\s*(.+):\s*(\w+)\s*>=\s*(\S+)\s*", text)
    try:
        if not found:
            raise ValueError
        least = float(found[3])
    except ValueError as error:
        raise BadInput(f"“{text}” is no least score. Write it as “everyday:contains>=0.8”.") from error
    scorer = check_name(found[2])
    if scorer in JUDGED:
        raise BadInput(
            f"“{scorer}” is a model's opinion, which no record holds, so no version could meet it: name another scorer."
        )
    return ScoreLimit(_whole_ref(config, found[1]), scorer, least)


def _whole_ref(config: Settings, ref: str) -> str:
    """A prompt set with the whole digest of the version that is meant: the policy is of just these items."""
    from phi3core.evaluation.prompt_sets import find_set

    found = find_set(config, ref)
    return f"{found.name}@{found.digest}"


def _threshold(text: str) -> Any:
    from phi3core.promotion.policy.policy import Threshold

    found = re.fullmatch(r"\s*(.+?)\s*(>=|<=)\s*(\S+)\s*", text)
    try:
        if not found:
            raise ValueError
        name, sign, value = found[1], found[2], float(found[3])
    except ValueError as error:
        raise BadInput(f"“{text}” is no limit. Write it as “tokens_per_second>=20”.") from error
    return Threshold(name, at_least=value if sign == ">=" else None, at_most=value if sign == "<=" else None)


def _share(text: str) -> float:
    try:
        return float(text.removesuffix("%")) / (100 if text.endswith("%") else 1)
    except ValueError as error:
        raise BadInput(f"“{text}” is no share. Write a win rate as 0.55 or 55%.") from error
