"""Requests for a promotion, who decides on them, and the policy that a promotion needs to meet."""

from __future__ import annotations

import json
import re
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any

import click

from phi3core.errors import BadInput, NotFound
from phi3core.settings import Settings, load_settings

from .group import REF_HELP, main, print_table

if TYPE_CHECKING:
    from phi3core.promotion.policy.request_status import Request

_WHICH = "WHICH is the request's id, or the version that is asked for."


@main.command(help=f"Ask for the promotion of a version; without REF, list the requests that wait. {REF_HELP}")
@click.argument("ref", required=False)
@click.option("--stage", type=click.Choice(["Production", "Staging"], case_sensitive=False), default="Production")
@click.option("--reason", default="", help="What speaks for it.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def request(ref: str | None, stage: str, reason: str, as_json: bool) -> None:
    """Nothing moves until somebody who may promotes it."""
    from phi3core.access import roles
    from phi3core.promotion.policy import requests

    config = load_settings()
    if ref is None:
        waiting = requests.waiting(config)
        if as_json:
            click.echo(json.dumps([asdict(one) for one in waiting], indent=2, default=_iso))
        elif not waiting:
            click.echo("No request waits.")
        else:
            print_table(["REQUEST", "VERSION", "TO", "STATUS", "BY", "ASKED", "REASON"], [_row(one) for one in waiting])
        return
    made = requests.ask(config, ref, stage, reason, roles.local_person(config))
    if as_json:
        click.echo(json.dumps(asdict(made), indent=2, default=_iso))
    else:
        click.echo(f"{made.stage} is asked for {made.ref}: request {made.id}.")


def _row(one: Request) -> list[str]:
    reason = " ".join(one.reason.split())
    return [one.id, one.ref, one.stage, one.status, one.by, f"{one.when:%Y-%m-%d %H:%M}", reason[:60]]


@main.command(help=f"Approve a request for a promotion. {_WHICH}")
@click.argument("which")
@click.option("--comment", default="", help="What you looked at; kept on the record.")
def approve(which: str, comment: str) -> None:
    """The approval is bound to the artifact as it is now."""
    _decide(which, "approve", comment)


@main.command(help=f"Reject a request for a promotion. {_WHICH}")
@click.argument("which")
@click.option("--comment", required=True, help="What has to change; kept on the record.")
def reject(which: str, comment: str) -> None:
    """The request ends; it can be asked for again."""
    _decide(which, "reject", comment)


@main.command(help=f"Take a request back. {_WHICH}")
@click.argument("which")
@click.option("--reason", default="", help="Why; kept on the record.")
def withdraw(which: str, reason: str) -> None:
    """Nothing moves, and the record keeps the request."""
    from phi3core.access import roles
    from phi3core.promotion.policy import requests

    config = load_settings()
    requests.withdraw(config, _id_of(config, which), reason, roles.local_person(config))
    click.echo("The request is withdrawn.")


def _decide(which: str, verdict: str, comment: str) -> None:
    from phi3core.access import roles
    from phi3core.promotion.policy import requests

    config = load_settings()
    done = requests.decide(config, _id_of(config, which), verdict, comment, roles.local_person(config))
    decided = "approved" if verdict == "approve" else "rejected"
    click.echo(f"{done.ref} is {decided} for {done.stage}.")


def _id_of(config: Settings, which: str) -> str:
    """The id of a request that was named by itself or by its version."""
    from phi3core.promotion.policy import requests
    from phi3core.registry import reader

    if not re.search("[/@]", which):
        return which
    version = reader.get_version(config, which)
    found = [r for r in requests.of_model(config, version.name) if r.version == version.version]
    waiting = [request for request in found if request.is_decidable]
    if not waiting:
        raise NotFound(f"No request for {version.ref} waits. “python -m phi3core request” lists those that do.")
    if len(waiting) > 1:
        listed = ", ".join(f"{r.id} ({r.stage})" for r in waiting)
        raise BadInput(f"{len(waiting)} requests for {version.ref} wait: name one of them by its id: {listed}.")
    return waiting[0].id


def _iso(value: Any) -> str:
    return str(value.isoformat())


# ---------------------------------------------------------------- policies


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
@click.argument("stage", type=click.Choice(["Production", "Staging"], case_sensitive=False))
@click.option("--approvals", type=click.IntRange(min=0), help="How many approvals.")
@click.option("--other-approver/--any-approver", default=None, help="One approver is not the author.")
@click.option("--reviews", type=click.IntRange(min=0), help="How many reviews.")
@click.option("--win-rate", help="At least this share of votes against Production: 0 to 1, or none.")
@click.option("--metric", "metrics", multiple=True, help="“name>=20” or “name<=50”; several times; replaces all.")
@click.option("--tag", "tags", multiple=True, help="A tag it must have, “name” or “name=value”; replaces all.")
@click.option("--same-signature/--any-signature", default=None, help="The signature of the present Production.")
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
    if rate := changed.get("win_rate"):
        changed["win_rate"] = None if rate.lower() == "none" else _share(rate)
    if not changed and not nothing:
        raise BadInput("Say what the policy needs, such as --approvals 1. “policy set --help” lists all there is.")
    policies.write(config, model, stage, replace(before, **changed), roles.local_person(config), reason)
    click.echo(f"The policy of {model} for {stage} is saved.")


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
