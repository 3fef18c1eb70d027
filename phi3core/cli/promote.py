"""Changing the registry, through the one path that keeps its record."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import click

from phi3core.errors import BadInput
from phi3core.settings import Settings, load_settings

from .group import REF_HELP, main

if TYPE_CHECKING:
    from phi3core.promotion.promote import Promotion

_REASON = "Why; kept on the record."


@main.command("promote", help=f"Move a version to a stage, or set or remove an alias. {REF_HELP}")
@click.argument("ref")
@click.option("--stage", help="None, Staging, Production or Archived.")
@click.option("--alias", help="Point this alias at the version.")
@click.option("--remove-alias", help="Remove this alias from the model.")
@click.option("--reason", default="", help=_REASON)
@click.option(
    "--old",
    type=click.Choice(["Archived", "None"], case_sensitive=False),
    default="Archived",
    show_default=True,
    help="What the version becomes that leaves the stage.",
)
@click.option("--override", default="", help="An admin's reason for going on though the policy is not met.")
@click.option("--yes", is_flag=True, help="Go on unasked though programs break that call the version it replaces.")
@click.option("--request", "request_id", default="", help="The request that this carries out.")
@click.option("--json", "as_json", is_flag=True, help="Print the version as it is now as JSON.")
def promote_command(
    ref: str,
    stage: str | None,
    alias: str | None,
    remove_alias: str | None,
    reason: str,
    old: str,
    override: str,
    yes: bool,
    request_id: str,
    as_json: bool,
) -> None:
    """Change the registry through the one path that keeps its record."""
    from phi3core.promotion.promote import delete_alias, promote, set_alias
    from phi3core.registry import reader
    from phi3core.registry.models import to_dict

    if sum(option is not None for option in (stage, alias, remove_alias)) != 1:
        raise BadInput("Say one of --stage, --alias or --remove-alias.")
    config = load_settings()
    if stage is not None:
        if not yes:
            _ask_about_breaks(config, ref, stage)
        done = promote(config, ref, stage, reason, old=old, override=override, request=request_id)
        version, message = done.version, f"{done.version.ref} is now in {done.stage}.{_replaced_sentence(done)}"
    elif alias is not None:
        version = set_alias(config, ref, alias, reason)
        message = f"@{alias} now points at {version.ref}."
    else:
        version = reader.get_version(config, ref)
        delete_alias(config, version.name, str(remove_alias), reason)
        version, message = reader.get_version(config, version.ref), f"@{remove_alias} is removed from {version.name}."
    click.echo(json.dumps(to_dict(version), indent=2) if as_json else message)


def _ask_about_breaks(config: Settings, ref: str, stage: str) -> None:
    """Ask for a second yes where the move breaks programs. Raises BadInput where it is not given."""
    from phi3core.promotion.plan import plan_move
    from phi3core.registry import compare, reader

    version = reader.get_version(config, ref)
    replaced = plan_move(config, version, stage, reader.list_versions(config, version.name)).replaced
    broken, _ = compare.find_breaks(config, replaced, version) if replaced else ([], "")
    if not replaced or not broken:
        return
    click.echo(f"Programs that call {replaced.ref} break on {version.ref}.", err=True)
    for sentence in broken:
        click.echo(f"  {sentence}", err=True)
    try:
        agreed = click.confirm(f"Move {version.ref} to {stage} all the same?", err=True)
    except click.Abort:  # nobody is there to answer
        agreed = False
    if not agreed:
        raise BadInput(f"{version.ref} was not moved. Give --yes to move it all the same.")


@main.command("adopt")
@click.argument("model")
@click.option("--reason", default="", help=_REASON)
def adopt_command(model: str, reason: str) -> None:
    """Let the aliases of MODEL say what MLflow's stages said, where it has no @production and no @staging."""
    from phi3core.promotion.adopt import adopt

    for version in adopt(load_settings(), model, reason):
        click.echo(f"{version.ref} is in {version.stage}: @{version.stage.lower()} points at it.")


@main.command("rollback")
@click.argument("model")
@click.option("--reason", required=True, help=_REASON)
@click.option("--override", is_flag=True, help="An admin goes on though its files have changed, for the same reason.")
@click.option("--json", "as_json", is_flag=True, help="Print the version that is in Production now as JSON.")
def rollback_command(model: str, reason: str, override: bool, as_json: bool) -> None:
    """Put the version back that was in Production before, as the record of MODEL tells."""
    from phi3core.promotion.rollback import rollback
    from phi3core.registry.models import to_dict

    done = rollback(load_settings(), model, reason, override=override)
    if as_json:
        click.echo(json.dumps(to_dict(done.version), indent=2))
    else:
        click.echo(f"{done.version.ref} is in Production again.{_replaced_sentence(done)}")


def _replaced_sentence(done: Promotion) -> str:
    if done.replaced is None:
        return ""
    return f" {done.replaced.ref} {'was archived' if done.replaced_to == 'Archived' else 'is in no stage now'}."


@main.command(help=f"Delete a version for good, after asking for its name. {REF_HELP}")
@click.argument("ref")
@click.option("--reason", required=True, help=_REASON)
@click.option("--confirm", default="", metavar="REF", help="The version's name once more, instead of being asked.")
def delete(ref: str, reason: str, confirm: str) -> None:
    """Refused while it is in Production or Staging, has an alias, or is asked for."""
    from phi3core.promotion.delete import delete_version, why_not_deleted
    from phi3core.registry import reader

    config = load_settings()
    version = reader.get_version(config, ref)
    if refused := why_not_deleted(config, version):
        raise BadInput(refused)
    typed = confirm or click.prompt(f"This deletes {version.ref} for good. Type {version.ref} to go on", err=True)
    if typed.strip() != version.ref:
        raise BadInput(f"“{typed}” is not {version.ref}: nothing was deleted.")
    delete_version(config, version.ref, reason)
    click.echo(f"{version.ref} is deleted.")
