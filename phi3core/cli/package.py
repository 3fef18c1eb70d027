"""Writing a version as a folder that others deploy."""

from __future__ import annotations

from pathlib import Path

import click

from phi3core.packaging.targets import TARGETS
from phi3core.settings import load_settings

from .group import REF_HELP, main


@main.command("package", help=f"Write a version as a folder that is deployed elsewhere. {REF_HELP}")
@click.argument("ref")
@click.option("--target", type=click.Choice(list(TARGETS)), default="container", show_default=True)
@click.option("--to", type=click.Path(path_type=Path), help="The folder, which is made. Default: NAME-VERSION-TARGET.")
@click.option("--image", default="", help="What the image is called, with the registry that it is pushed to.")
def package_command(ref: str, target: str, to: Path | None, image: str) -> None:
    """Print the folder and what to do with it."""
    from phi3core.packaging.package import write_package
    from phi3core.registry.reader import get_version

    config = load_settings()
    version = get_version(config, ref)
    try:
        folder = write_package(
            config, version.ref, target, to or Path(f"{version.name}-{version.version}-{target}"), image
        )
    except OSError as error:
        raise click.ClickException(f"The folder can't be written: {error.strerror or error}.") from error
    click.echo(f"{version.ref} is in {folder}: its README.md says how to deploy it.")
