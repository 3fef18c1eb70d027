"""The record of everything that was done to the registry."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click

from phi3core.errors import BadInput, Phi3Error
from phi3core.settings import Settings, load_settings

from .group import main, print_table

if TYPE_CHECKING:
    from phi3core.promotion.record.model import Record


@main.command()
@click.option("--model", default="", help="Only of this registered model.")
@click.option("--version", type=int, default=None, help="Only of this version; needs --model.")
@click.option("--action", default="", help="promote, roll back, set alias, request, approve, trust, delete …")
@click.option("--user", default="", help="Only what this person did.")
@click.option("--status", default="", help="open, done, failed or interrupted.")
@click.option("--since", type=click.DateTime(["%Y-%m-%d", "%Y-%m-%dT%H:%M"]), help="From this moment on, UTC.")
@click.option("--until", type=click.DateTime(["%Y-%m-%d", "%Y-%m-%dT%H:%M"]), help="Before this moment, UTC.")
@click.option("--text", default="", help="Only with this text in its reason.")
@click.option("--limit", type=click.IntRange(min=0), default=50, show_default=True, help="The newest so many; 0: all.")
@click.option("--json", "form", flag_value="json", help="Print JSON.")
@click.option("--csv", "form", flag_value="csv", help="Print CSV.")
@click.option("--verify", is_flag=True, help="Look for records of --model that were edited or are missing; 1 if any.")
def record(limit: int, form: str | None, verify: bool, **filters: Any) -> None:
    """Print what was done: who, when, what, from, to and why. Newest first."""
    from phi3core.promotion.record import search

    config = load_settings()
    if filters["version"] is not None and not filters["model"]:
        raise BadInput("A version is one of a model: name it with --model.")
    if verify:
        _verify(config, filters["model"])
        return
    for end in ("since", "until"):
        filters[end] = _utc(filters[end])
    found = list(_pages(config, filters, limit))
    if form:
        click.echo(search.export(found, form), nl=False)
    elif not found:
        click.echo("No such record.")
    else:
        print_table(["WHEN", "VERSION", "WHAT", "FROM", "TO", "WHO", "STATUS", "WHY"], [_row(one) for one in found])


def _pages(config: Settings, filters: dict[str, Any], limit: int) -> Iterator[Record]:
    from phi3core.promotion.record import search

    left, token = limit or None, None
    while True:
        page = search.page(config, **filters, limit=min(left or 1000, 1000), token=token)
        yield from page.records
        token = page.next
        left = left - len(page.records) if left is not None else None
        if not token or left == 0:
            return


def _utc(when: datetime | None) -> datetime | None:
    return when.replace(tzinfo=UTC) if when else None


def _row(one: Record) -> list[str]:
    why = " ".join(one.reason.split())
    status = f"{one.status}, {one.doubt.upper()}" if one.doubt else one.status
    when = f"{one.started:%Y-%m-%d %H:%M}"
    return [when, one.ref, one.action, one.old or "–", one.new or "–", one.user, status, why[:80]]


def _verify(config: Settings, model: str) -> None:
    from phi3core.promotion.record import search

    if not model:
        raise BadInput("Say whose record to verify with --model.")
    # The records of no model show whether the records of all models were deleted.
    if wrong := [*search.verify(config, model), *search.verify(config, "")]:
        raise Phi3Error(" ".join(wrong))
    click.echo(f"The record of {model} is whole: no record was edited, and none is missing.")
