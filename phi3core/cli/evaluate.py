"""Prompt sets, and versions judged by them."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from phi3core.errors import BadInput
from phi3core.settings import load_settings
from phi3core.timestamps import from_ms

from .chat import open_output, open_pool
from .group import REF_HELP, main, print_table
from .outcome import JUNIT_HELP, Line, check_policy, tell

if TYPE_CHECKING:
    from phi3core.evaluation.results import Evaluation

_POLICY = "Exit status 1 where what this stage's policy asks of an evaluation is not met."
_SET_HELP = "SET is a prompt set's name, which means its newest version, or name@digest."


@main.group()
def prompts() -> None:
    """Prompt sets: what versions are evaluated with. Two ship: “everyday” and “adversarial”."""


@prompts.command("list")
@click.option("--all", "versions", is_flag=True, help="All versions of each set.")
def list_(versions: bool) -> None:
    """List the prompt sets, newest first."""
    from phi3core.evaluation import prompt_sets

    config = load_settings()
    saved = prompt_sets.search_sets(config, versions)
    shipped = [prompt_sets.find_set(config, name) for name in prompt_sets.shipped_names()]
    rows = [[one.ref, str(one.size), one.by, _when(one.when)] for one in saved]
    rows += [[one.ref, str(one.size), "(ships with the product)", ""] for one in shipped]
    print_table(["SET", "ITEMS", "BY", "WHEN"], rows)


@prompts.command(help=f"Print a set's items. {_SET_HELP}")
@click.argument("prompt_set", metavar="SET")
@click.option("--output", type=click.Path(path_type=Path), default=None, help="Write them to a file of JSON lines.")
def show(prompt_set: str, output: Path | None) -> None:
    """As a table, or with --output as JSON lines that “import” takes."""
    from phi3core.evaluation import prompt_sets
    from phi3core.evaluation.items import to_jsonl

    found, items = prompt_sets.read_set(load_settings(), prompt_set)
    if output is not None:
        with open_output(output) as out:
            out.write(to_jsonl(items))
        click.echo(f"Wrote the {found.size} items of {found.ref} to {output}.")
        return
    print_table(
        ["ITEM", "EXPECTED", "PROMPT"],
        [[item.id, ", ".join(item.expectations), _cut(item.prompt)] for item in items],
    )


@prompts.command("import")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--name", default="", help="The set's name; by default, the file's.")
def import_set(file: Path, name: str) -> None:
    """Save FILE as the newest version of a set: CSV with a column “prompt”, JSON lines, or OpenAI messages."""
    from phi3core.evaluation import prompt_sets
    from phi3core.evaluation.item_files import read_items

    try:
        data = file.read_bytes()
    except OSError as error:
        raise BadInput(f"{file} can't be read: {error.strerror}.") from error
    items = read_items(file.name, data)
    saved = prompt_sets.save_set(load_settings(), name or file.stem, items)
    click.echo(f"{saved.ref} has {saved.size} items.")


@main.command(help=f"Have versions answer a prompt set, and score the answers. {_SET_HELP} {REF_HELP}")
@click.argument("prompt_set", metavar="SET")
@click.argument("refs", metavar="REF...", nargs=-1, required=True)
@click.option("--max-tokens", type=int, default=256, show_default=True)
@click.option("--temperature", type=float, default=0.0, show_default=True)
@click.option("--seed", type=int, default=1, show_default=True)
@click.option("--again", is_flag=True, help="Anew, where the same evaluation was made before.")
@click.option("--at-least", multiple=True, metavar="SCORER=X", help="Exit status 1 where a version's mean is below X.")
@click.option("--policy", "stage", type=click.Choice(["Production", "Staging"], case_sensitive=False), help=_POLICY)
@click.option("--judge", default="", metavar="REF", help="A version or endpoint:NAME that judges the answers.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.option("--output", type=click.Path(path_type=Path), default=None, help="All answers, as .csv or .jsonl.")
@click.option("--junit", type=click.Path(path_type=Path), default=None, help=JUNIT_HELP)
def evaluate(
    prompt_set: str, refs: tuple[str, ...], again: bool, at_least: tuple[str, ...], stage: str | None, as_json: bool,
    output: Path | None, junit: Path | None, judge: str, **options: Any,
) -> None:  # fmt: skip
    """Interrupted, it goes on where it was when it is started again; the same evaluation is not made twice."""
    from phi3core.evaluation.evaluate import Cancel, evaluate
    from phi3core.evaluation.results import to_csv, to_jsonl

    config = load_settings()
    limits = [_limit(text) for text in at_least]
    if junit and not (limits or stage):
        raise BadInput("--junit has nothing to tell: say what is asked for, by --at-least or --policy.")
    if output is not None and output.suffix not in (".csv", ".jsonl"):
        raise BadInput(f"{output} tells no form: end its name with .csv or .jsonl.")
    with open_pool(config) as pool, click.progressbar(length=0, label="Answers", file=sys.stderr) as bar:

        def report(done: int, total: int) -> None:
            bar.length = total
            bar.update(done - bar.pos)

        cancel = Cancel()
        try:
            found = evaluate(
                config, pool, prompt_set, refs, options, again=again, report=report, cancel=cancel, judge=judge
            )
        except KeyboardInterrupt:
            cancel.stop()
            raise
    if output is not None:
        with open_output(output) as out:
            out.write(to_csv(found) if output.suffix == ".csv" else to_jsonl(found))
    _print_json(found) if as_json else _print_tables(found)
    lines = [_held(found, ref, name, least) for name, least in limits for ref in found.run.refs]
    lines += check_policy(config, found.run.refs, stage, "evaluation") if stage else []
    tell(lines, junit, quiet=as_json)


@main.command()
@click.option("--version", "ref", default="", help="Only those of this version.")
def evaluations(ref: str) -> None:
    """List the evaluations, newest first."""
    from phi3core.evaluation.results import search_evaluations

    found = search_evaluations(load_settings(), ref)
    if not found:
        click.echo("No evaluation yet. “phi3 evaluate everyday NAME/1 NAME/2” makes one.")
        return
    print_table(
        ["SET", "VERSIONS", "BY", "WHEN", "STATE"],
        [
            [one.prompt_set, ", ".join(one.refs), one.by, _when(one.when), "complete" if one.complete else "partly"]
            for one in found
        ],
    )


def _held(found: Evaluation, ref: str, name: str, least: float) -> Line:
    """A mean against the least that is asked for; a scorer that applies to no item asks for nothing."""
    mean = found.means(ref).get(name)
    says = f"{name} is {mean.value:.3g}, and at least {least:g} is asked for." if mean else "It applied to no item."
    return Line(ref, f"{name} at least {least:g}", mean is None or mean.value >= least, says)


def _limit(text: str) -> tuple[str, float]:
    from phi3core.evaluation.scorers import check_name

    name, _, least = text.partition("=")
    try:
        return check_name(name), float(least)
    except ValueError as error:
        raise BadInput(f"“{text}” must be a scorer's name, = and a number, such as contains=0.8.") from error


def _print_tables(found: Evaluation) -> None:
    from phi3core.evaluation.scorers import NAMES

    means = {ref: found.means(ref) for ref in found.run.refs}
    named = [name for name in NAMES if any(name in one for one in means.values())]
    rows = [
        [name, *(f"{one.value:.3g} ({one.low:.3g} to {one.high:.3g})" if (one := means[ref].get(name)) else "–"
                 for ref in found.run.refs)]
        for name in named
    ]  # fmt: skip
    click.echo(f"{found.run.prompt_set}, {found.run.items} items; means, with the interval that holds 95 of 100 times")
    print_table(["", *found.run.refs], rows)
    first = found.run.refs[0]
    for other in found.run.refs[1:]:
        for name, change in found.compare(other, first).items():
            if not change.better and not change.worse:
                continue
            sure = "surely" if change.sure else "not surely"
            told = f"better on {change.better}, worse on {change.worse}, {sure} (p {change.p:.2g})"
            worse = found.worse(other, first, name)
            where = f"; worse on {', '.join(worse[:10])}" if worse else ""
            click.echo(f"{other} against {first}, {name}: {told}{where}")


def _print_json(found: Evaluation) -> None:
    first = found.run.refs[0]
    plain = {
        **asdict(found.run),
        "means": {ref: {name: asdict(mean) for name, mean in found.means(ref).items()} for ref in found.run.refs},
        "differences": {
            other: {name: asdict(one) for name, one in found.compare(other, first).items()}
            for other in found.run.refs[1:]
        },
    }
    click.echo(json.dumps(plain, indent=2))


def _when(milliseconds: int) -> str:
    return f"{from_ms(milliseconds):%Y-%m-%d %H:%M}" if milliseconds else ""


def _cut(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= 70 else f"{line[:69]}…"
