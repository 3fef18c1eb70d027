"""What is registered."""

from __future__ import annotations

import json
from typing import Any

import click

from phi3core import tags
from phi3core.settings import load_settings
from phi3core.text import two_digits

from .group import main, print_table


@main.command()
@click.argument("name", required=False)
@click.option("--json", "as_json", is_flag=True, help="Print a JSON list.")
def models(name: str | None, as_json: bool) -> None:
    """List the registered models, or the versions of model NAME."""
    from phi3core.registry import reader
    from phi3core.registry.models import to_dict

    config = load_settings()
    rows = reader.list_versions(config, name) if name else reader.list_models(config)
    if as_json:
        click.echo(json.dumps([to_dict(row) for row in rows], indent=2))
    elif not rows:
        click.echo(
            "No versions yet." if name else "No models yet. “python -m phi3core demo” registers the embedded one."
        )
    elif name:
        head = ["VERSION", "STAGE", "ALIASES", "WRAPPER", "PRECISION", "SIZE", "TOKENS/S", "CREATED"]
        print_table(head, [_version_row(row) for row in rows])
    else:
        head = ["MODEL", "NEWEST", "PRODUCTION", "STAGING", "UPDATED"]
        print_table(head, [_model_row(row) for row in rows])


def _model_row(model: Any) -> list[str]:
    numbers = [str(number or "–") for number in (model.newest, model.production, model.staging)]
    return [model.name, *numbers, f"{model.updated:%Y-%m-%d %H:%M}"]


def _version_row(version: Any) -> list[str]:
    size = f"{version.size / 1e6:,.0f} MB" if version.size else "–"
    speed = version.metrics.get(tags.TOKENS_PER_SECOND)
    return [
        version.ref,
        version.stage + (f" (MLflow: {version.contrary_stage})" if version.contrary_stage else ""),
        " ".join(f"@{alias}" for alias in version.aliases) or "–",
        version.wrapper or "–",
        version.precision or "–",
        size,
        two_digits(speed) if speed else "–",
        f"{version.created:%Y-%m-%d %H:%M}",
    ]
