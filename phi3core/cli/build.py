"""Building versions, the demo, and measuring versions anew."""

from __future__ import annotations

import contextlib
import functools
import json
import re
from collections.abc import Callable, Sequence
from typing import Any

import click
from filelock import FileLock

from phi3core import tags
from phi3core.access import roles
from phi3core.access.roles import Person
from phi3core.errors import BadInput, Cancelled, Phi3Error
from phi3core.settings import Settings, load_settings
from phi3core.text import two_digits

from .group import REF_HELP, main


@main.command()
def demo() -> None:
    """Register the embedded model both ways, as phi3-embedded/1 and /2, unless that is done already."""
    prepare_demo(load_settings())


@main.command()
@click.option(
    "--wrapper", "wrappers", type=click.Choice(tags.WRAPPERS), multiple=True, required=True, help="Twice for both."
)
@click.option(
    "--source", default="embedded", show_default=True, help="embedded, a folder, or hf:owner/repo[@rev][/folder]"
)
@click.option("--base", default="", help="What an adapter is merged into, as --source. Default: what it names.")
@click.option("--name", default=None, help="The registered model. Default: phi3-embedded, or the source's own name.")
@click.option(
    "--precision",
    "precisions",
    multiple=True,
    help="transformers: bfloat16, float32, float16. onnx: int4, int4-mixed, int8, fp32. Again: a version of each.",
)
@click.option(
    "--block", "blocks", type=int, multiple=True, help="At 4 bits, how many numbers share a scale. Default: 32."
)
@click.option(
    "--signature", type=click.Choice(["prompt", "chat"]), default="prompt", show_default=True, help="onnx only."
)
@click.option("--max-tokens", type=int, default=300, show_default=True, help="The default length of an answer.")
@click.option("--temperature", type=float, default=None, help="The default temperature. Default: the model's own.")
@click.option("--parity", is_flag=True, help="Then hold each version against the weights it was built from.")
@click.option("--verify-environment", "verify", is_flag=True, help="Then try each in an environment of its own.")
@click.option("--json", "as_json", is_flag=True, help="Print the version as JSON; several as a list.")
def build(
    name: str | None,
    wrappers: tuple[str, ...],
    precisions: tuple[str, ...],
    blocks: tuple[int, ...],
    parity: bool,
    verify: bool,
    as_json: bool,
    **options: Any,
) -> None:
    """Build a version, or several of one source, and register each. Ctrl-C cancels the one that is under way.

    Nothing is registered of that one then.
    """
    from phi3core.build import jobs, ladder
    from phi3core.build.spec import BuildSpec, suggest_model_name
    from phi3core.registry import reader
    from phi3core.registry.models import to_dict

    config = load_settings()
    common = BuildSpec(wrappers[0], name=name or suggest_model_name(options["source"]), **options)  # type: ignore[arg-type]
    specs = ladder.plan(common, wrappers, precisions or _default(config, common, wrappers, as_json), blocks)
    made = []
    for number, spec in enumerate(specs, start=1):
        if len(specs) > 1:
            click.echo(f"{number} of {len(specs)}: the {spec.wrapper} wrapper, {spec.precision_says}", err=as_json)
        job = _build(config, spec, err=as_json)
        made.append(job.ref)
        if not as_json:
            click.echo(f"Registered {job.ref}.")
    for ref in made if parity else []:
        click.echo(f"{ref} against its source", err=as_json)
        start = functools.partial(jobs.start_parity, config, ref)
        follow_job(config, start, f"Stopped; {ref} stays registered.", as_json)
    for ref in made if verify else []:
        click.echo(f"{ref} in an environment of its own", err=as_json)
        follow_job(config, functools.partial(jobs.start_trial, config, ref), f"Stopped; {ref} stays.", as_json)
    if as_json:
        found = [to_dict(reader.get_version(config, ref)) for ref in made]
        click.echo(json.dumps(found if len(found) > 1 else found[0], indent=2))


def _default(config: Settings, spec: Any, wrappers: Sequence[str], err: bool) -> list[str]:
    """The precision to build ONNX at, by what was measured of this source's versions; it is said why."""
    from phi3core.build import ladder
    from phi3core.errors import NotFound
    from phi3core.registry import reader

    if "onnx" not in wrappers:
        return []
    checked = spec.validated()
    try:
        listed = reader.list_versions(config, checked.name)
    except NotFound:
        listed = []
    choice = ladder.choose_precision("onnx", checked.source, listed)
    click.echo(f"  {choice.precision}: {choice.why}", err=err)
    return [choice.precision]


@main.command()
@click.argument("source")
@click.option("--base", default="", help="What an adapter is merged into, as SOURCE. Default: what it names.")
@click.option("--json", "as_json", is_flag=True, help="Print what was found as JSON.")
def inspect(source: str, base: str, as_json: bool) -> None:
    """Say what a folder or hf:owner/repo is and what each wrapper would make of it, without its weights.

    Nothing is fetched but small files. The exit status is 1 where no wrapper can build it.
    """
    from dataclasses import asdict

    from phi3core.build.inspection import describe
    from phi3core.build.source_inspector import inspect as look

    found = look(source, base, load_settings(), lambda _, text: click.echo(f"  {text}", err=True))
    click.echo(json.dumps(asdict(found), indent=2) if as_json else describe(found))
    if all(outlook.problem for outlook in found.outlooks):
        raise click.exceptions.Exit(1)


@main.command(
    "verify-environment", help=f"Try a version in a new environment of its own pip requirements alone. {REF_HELP}"
)
@click.argument("ref")
def verify_environment(ref: str) -> None:
    """The exit status is 1 where it answers otherwise there."""
    from phi3core.build import declared_environment, jobs
    from phi3core.registry import reader

    config = load_settings()
    job = follow_job(config, lambda: jobs.start_trial(config, ref), "Stopped; nothing was recorded.")
    trial = declared_environment.read_trial(config, reader.get_version(config, job.ref))
    assert trial is not None
    named = ", ".join(f"{name} {number}" for name, number in trial.packages.items())
    said = "gives the same answer" if trial.same else f"answers otherwise: “{trial.answer}”, here “{trial.ours}”"
    click.echo(f"{job.ref} {said} on Python {trial.python} with {named} ({trial.seconds:.0f} s).")
    if not trial.same:
        raise click.exceptions.Exit(1)


@main.command(help=f"Measure a version's speed anew, once this machine is idle. Ctrl-C stops it. {REF_HELP}")
@click.argument("ref")
def measure(ref: str) -> None:
    """What was stopped has recorded nothing."""
    from phi3core.build import jobs
    from phi3core.registry import reader

    config = load_settings()
    job = follow_job(config, lambda: jobs.start_measuring(config, ref), "Stopped; nothing was recorded.")
    version = reader.get_version(config, job.ref)
    click.echo(f"{job.ref}: {two_digits(version.metrics[tags.TOKENS_PER_SECOND])} tokens/s on {version.measured}.")


def prepare_demo(config: Settings) -> None:
    """Build what is missing of the demo, one version after the other."""
    from phi3core.build.spec import BuildSpec
    from phi3core.errors import NotFound
    from phi3core.registry import reader

    # The app's own act: the role of the person who starts it does not matter.
    owner = Person(roles.local_person(config).name, "releaser")
    with FileLock(config.locks / "demo.lock"):
        try:
            there = reader.list_versions(config, tags.DEMO_MODEL)
        except NotFound:
            there = []
        made = {v.wrapper for v in there if v.tags.get(tags.SOURCE) == "embedded"}
        if "onnx" in made:
            return  # the last one is there; if an earlier one is not, a person has deleted it
        for number, wrapper in enumerate(tags.WRAPPERS, start=1):
            if wrapper in made:
                continue
            click.echo(f"Building {tags.DEMO_MODEL}, {number} of {len(tags.WRAPPERS)}: the {wrapper} wrapper")
            job = _build(config, BuildSpec(wrapper), person=owner)  # type: ignore[arg-type]
            click.echo(f"  Registered {job.ref}.")


def _build(config: Settings, spec: Any, err: bool = False, person: Person | None = None) -> Any:
    from phi3core.build import jobs

    stopped = "Stopped; nothing was registered. Run it again to go on from what is prepared."
    return follow_job(config, lambda: jobs.start(config, spec, person), stopped, err, person)


def follow_job(
    config: Settings, start: Callable[[], str], stopped: str, err: bool = False, person: Person | None = None
) -> Any:
    """Start a job and print each step with its progress until it has ended; Ctrl-C cancels it.

    Args:
        start: starts it and returns its run id.
        stopped: the sentence for a job that was cancelled.
        err: print to standard error.
        person: who cancels it; None for the user of this machine.
    """
    from phi3core.build import job_files, jobs
    from phi3core.build.steps import STEP_TITLES

    shown: dict[str, str] = {}
    job, run_id = None, ""
    try:
        run_id = start()
        for job in jobs.follow(config, run_id):
            for number, step in enumerate(job.steps, start=1):
                if step.state == "waiting":
                    continue
                share = f"{step.fraction:4.0%} " if step.fraction is not None and step.state == "running" else ""
                text = f"{step.seconds:.1f} s" if step.seconds is not None else share + step.text
                line = f"  {number}/{len(job.steps)} {STEP_TITLES[step.name]}: {text}"
                # One line per new text and per tenth, so that a log stays readable.
                news = step.state + re.sub(r"[\d., %]+", "", step.text) + str(int((step.fraction or 0) * 10))
                if shown.get(step.name) != news:
                    shown[step.name] = news
                    click.echo(line, err=err)
    except KeyboardInterrupt:
        with contextlib.suppress(BadInput):
            if run_id:
                jobs.cancel(config, run_id, person)
        job = jobs.get(config, run_id) if run_id else None
        if job is None or job.status != "FINISHED":  # it may have been past the point of no return
            raise Cancelled(stopped) from None
    assert job is not None
    if job.status != "FINISHED":
        raise Phi3Error(f"{job.reason} The log is {job_files.log_path(config, run_id)}.")
    return job
