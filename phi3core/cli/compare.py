"""Two versions side by side, and a version copied elsewhere."""

from __future__ import annotations

import json
from dataclasses import asdict

import click

from phi3core.settings import load_settings

from .group import REF_HELP, main, print_table

_CUT = 60  # letters of a value in the table


@main.command(help=f"Show what differs between two versions. {REF_HELP}")
@click.argument("left", metavar="REF")
@click.argument("right", metavar="REF")
@click.option("--all", "everything", is_flag=True, help="What is the same, too.")
@click.option("--fetch", is_flag=True, help="Fetch files that are not on this machine, to compare what is in them.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def compare(left: str, right: str, everything: bool, fetch: bool, as_json: bool) -> None:
    """What would break a program that calls the first is told at the end."""
    from phi3core.registry import reader
    from phi3core.registry.compare import compare_versions

    config = load_settings()
    found = compare_versions(config, reader.get_version(config, left), reader.get_version(config, right), fetch)
    shown = [one for one in found.differences if everything or not one.same]
    if as_json:
        plain = {"differences": [asdict(one) for one in shown], "breaks": found.breaks, "unread": found.unread}
        click.echo(json.dumps(plain, indent=2))
        return
    if shown:
        print_table(
            ["", "WHAT", left, right], [[one.section, one.name, _cut(one.left), _cut(one.right)] for one in shown]
        )
    else:
        click.echo(f"{left} and {right} do not differ.")
    for sentence in (*found.breaks, *found.unread):
        click.echo(sentence, err=True)


def _cut(value: str) -> str:
    line = " ".join(value.split())
    return line if len(line) <= _CUT else f"{line[: _CUT - 1]}…"


@main.command(help=f"Copy a version to another registered model or tracking server. {REF_HELP}")
@click.argument("ref")
@click.argument("name")
@click.option(
    "--to",
    default="",
    metavar="NAME",
    help="Another tracking server, as [copy.NAME] of the secrets file. Default: this one.",
)
@click.option("--reason", default="", help="Why; kept on the record.")
@click.option("--json", "as_json", is_flag=True, help="Print the copy as JSON.")
def copy(ref: str, name: str, to: str, reason: str, as_json: bool) -> None:
    """NAME is the registered model to copy it to. Its tags and its origin go with it; stages and aliases stay."""
    from phi3core.access import roles
    from phi3core.promotion.copy import copy_version

    config = load_settings()
    done = copy_version(config, ref, name, roles.local_person(config), to, reason, _report)
    if as_json:
        click.echo(json.dumps(asdict(done) | {"ref": done.ref}, indent=2))
    else:
        click.echo(f"{ref} is {done.ref} now{f' at {done.uri}' if done.uri else ''}.")


def _report(share: float, text: str) -> None:
    click.echo(f"{share:4.0%} {text}", err=True)
