"""The group of commands, and what all of them share."""

from __future__ import annotations

import signal
from typing import Any

import click

from phi3core import __version__
from phi3core.errors import Phi3Error

REF_HELP = "REF is name/3, name@alias or name/Production, also with models:/ before it."


class Commands(click.Group):
    """Shows our errors as one sentence, without a traceback."""

    def invoke(self, context: click.Context) -> Any:
        try:
            return super().invoke(context)
        except Phi3Error as error:
            raise click.ClickException(str(error)) from error


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="phi3")
def main() -> None:
    """Build Phi-3 as an MLflow model, register it, promote it, and talk to it."""
    # A program that ends us with SIGTERM wants the same tidy end as Ctrl-C; and a shell that starts us in the
    # background has SIGINT ignored, so that Python would not hear it.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler)


def print_table(head: list[str], rows: list[list[str]]) -> None:
    widths = [max(len(row[at]) for row in [head, *rows]) for at in range(len(head))]
    for row in [head, *rows]:
        click.echo("  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip())
