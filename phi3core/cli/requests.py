"""Requests for a promotion, and who decides on them."""

from __future__ import annotations

import json
import re
from dataclasses import asdict
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
