"""Trust in the code of a version that somebody else made."""

from __future__ import annotations

import click

from phi3core.settings import load_settings

from .group import REF_HELP, main


@main.command("trust", help=f"Let the code of a version run that neither wrapper made. {REF_HELP}")
@click.argument("ref")
@click.option("--revoke", is_flag=True, help="Let it run no more.")
@click.option("--reason", default="", help="Why; kept on the record.")
def trust_command(ref: str, revoke: bool, reason: str) -> None:
    """Record that an admin trusts the version's files as they are now, or no more."""
    from phi3core.promotion.code_trust import distrust, trust

    config = load_settings()
    if revoke:
        version = distrust(config, ref, reason)
        click.echo(f"The code of {version.ref} runs no more.")
    else:
        version = trust(config, ref, reason)
        click.echo(f"The code of {version.ref} may run, as its files are now.")
