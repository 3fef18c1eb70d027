"""How far a version is from the weights it came from, or from another version."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import click

from phi3core.settings import load_settings

from .build import follow_job
from .group import main

if TYPE_CHECKING:
    from phi3core.build.parity.results import Parity
    from phi3core.build.parity.statistics import Figures, Mean


@main.command()
@click.argument("base")
@click.argument("compared", default="")
@click.option("--json", "as_json", is_flag=True, help="Print everything that came out as JSON.")
def parity(base: str, compared: str, as_json: bool) -> None:
    """Have two models read the same text, token by token, and say how far they are apart.

    With two versions the second is held against the first; with one, that one against the weights it was built from.
    Ctrl-C stops it. The words are those of llama.cpp's report on KL divergence.
    """
    from phi3core.build import jobs
    from phi3core.build.parity import results
    from phi3core.registry import reader

    config = load_settings()
    ref, of = (compared, base) if compared else (base, "")
    job = follow_job(config, lambda: jobs.start_parity(config, ref, of), "Stopped; nothing was recorded.", as_json)
    version = reader.get_version(config, job.ref)
    wanted = reader.get_version(config, of).ref if of else results.SOURCE
    found = next(one for one in results.read_results(config, version) if one.base == wanted)
    click.echo(json.dumps(found.to_dict(), indent=2) if as_json else describe(found))


def describe(found: Parity) -> str:
    """A comparison in lines of plain text."""
    report = found.report
    same = f"{report.same_answers} of {len(report.answers)}"
    lines = [f"{found.ref} against {found.base_says}", *_lines(report.figures)]
    lines.append(f"  Same greedy answers        {same}")
    lines += [f"  {kind}: {_kl(figures.kl)}, {figures.tokens:,} tokens" for kind, figures in report.kinds.items()]
    return "\n".join(lines)


def _lines(found: Figures) -> list[str]:
    top = found.same_top
    return [
        f"  Mean PPL(Q)                {_with_error(found.perplexity)}",
        f"  Mean PPL(base)             {_with_error(found.base_perplexity)}",
        f"  Mean PPL(Q)/PPL(base)      {_with_error(found.ratio)}",
        f"  Mean    KLD                {_with_error(found.kl)}, 95 % from {found.kl.low:.4f} to {found.kl.high:.4f}",
        f"  Maximum KLD                {found.kl_max:.4f}",
        f"  99.0%   KLD                {found.kl_p99:.4f}",
        f"  90.0%   KLD                {found.kl_p90:.4f}",
        f"  Median  KLD                {found.kl_median:.4f}",
        f"  Mean    Δp                 {100 * found.delta_p.value:.3f} ± {100 * found.delta_p.error:.3f} %",
        f"  RMS     Δp                 {100 * found.delta_p_rms:.3f} %",
        f"  Same top p                 {100 * top.value:.2f} ± {100 * top.error:.2f} %, {found.tokens:,} tokens",
    ]


def _with_error(mean: Mean) -> str:
    return f"{mean.value:.4f} ± {mean.error:.4f}"


def _kl(mean: Mean) -> str:
    return f"mean KLD {_with_error(mean)}"
