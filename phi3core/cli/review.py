"""Reviews: made, followed and closed from a terminal. Votes are cast on the page."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from phi3core.errors import BadInput
from phi3core.settings import Settings, load_settings
from phi3core.timestamps import from_ms, to_ms

from .chat import open_pool
from .group import REF_HELP, main, print_table
from .outcome import JUNIT_HELP, Line, check_policy, tell

if TYPE_CHECKING:
    from phi3core.evaluation.judgement import Judgement
    from phi3core.evaluation.reviews.review import Review

_STAGES = click.Choice(["Production", "Staging"], case_sensitive=False)
_POLICY = "Exit status 1 where what this stage's policy asks of a review is not met."


@main.group()
def review() -> None:
    """Reviews: people judge the answers of versions, each on their own and without names, on the page Review."""


@review.command(
    help=f"Make a review of the answers to a prompt set, which is evaluated first where need be. {REF_HELP}"
)
@click.argument("prompt_set", metavar="SET", required=False)
@click.argument("refs", metavar="REF...", nargs=-1)
@click.option("--evaluation", default="", help="Instead of SET and REF: the run of an evaluation that was made.")
@click.option("--question", required=True, help="What it is about, such as “Is 7 fit to replace 5?”.")
@click.option("--form", type=click.Choice(["pairwise", "rating", "pass", "text"]), default="pairwise")
@click.option("--criterion", "criteria", multiple=True, help="What is rated from 1 to 5; several times.")
@click.option("--reviewer", "reviewers", multiple=True, help="An e-mail, group:NAME or role:reviewer; several times.")
@click.option("--reviews", type=int, default=1, show_default=True, help="How many votes each item needs.")
@click.option("--deadline", default="", metavar="YYYY-MM-DD", help="The last day for votes, in UTC.")
@click.option("--checks", type=float, default=0.0, help="The share of items that come twice, as a check of attention.")
@click.option("--max-tokens", type=int, default=256, show_default=True, help="The longest answer.")
def create(
    prompt_set: str | None, refs: tuple[str, ...], evaluation: str, deadline: str, max_tokens: int, **plan: Any
) -> None:  # fmt: skip
    """An evaluation with the same prompts, versions and options is made once; its answers are reviewed."""
    from phi3core.evaluation.evaluate import evaluate, find_targets
    from phi3core.evaluation.reviews import create as making
    from phi3core.evaluation.reviews.plan import Plan, check_plan

    config = load_settings()
    planned = Plan(**plan, deadline=_deadline(deadline))
    if bool(evaluation) == bool(prompt_set and refs):
        raise BadInput("Say what is reviewed: a prompt set and versions, or --evaluation.")
    if prompt_set and not evaluation:
        check_plan(planned, len(find_targets(config, refs)))  # before versions are asked for minutes
        options = {"max_tokens": max_tokens, "temperature": 0.0, "seed": 1}
        with open_pool(config) as pool:
            evaluation = evaluate(config, pool, prompt_set, refs, options).run.run_id
    made = making.create(config, planned, evaluation)
    click.echo(f"Review {made.id} has {made.items} items, and needs {made.items * made.plan.reviews} votes.")


@review.command("list")
def list_() -> None:
    """List the reviews, newest first."""
    from phi3core.evaluation.reviews.review import search_reviews

    found = search_reviews(load_settings())
    if not found:
        click.echo("No review yet. “phi3 review create SET REF REF --question …” makes one.")
        return
    print_table(
        ["REVIEW", "QUESTION", "VERSIONS", "ITEMS", "BY", "WHEN", "STATE"],
        [
            [one.id, one.plan.question[:50], ", ".join(one.refs), str(one.items), one.by, _when(one.when), one.state]
            for one in found
        ],
    )


@review.command()
@click.argument("id", metavar="REVIEW")
@click.option("--json", "as_json", is_flag=True, help="Print JSON, with all votes that count.")
@click.option("--complete", is_flag=True, help="Exit status 1 where votes are missing.")
@click.option("--policy", "stage", type=_STAGES, help=_POLICY)
@click.option("--junit", type=click.Path(path_type=Path), default=None, help=JUNIT_HELP)
def show(id: str, as_json: bool, complete: bool, stage: str | None, junit: Path | None) -> None:
    """Tell how far a review is, or what came of it."""
    from phi3core.evaluation.reviews import closing
    from phi3core.evaluation.reviews.review import read_review
    from phi3core.evaluation.reviews.votes import read_judgements

    config = load_settings()
    found = read_review(config, id)
    result = closing.read_result(config, found) if found.closed else None
    judgements = list(result.judgements) if result else read_judgements(config, found, fresh=True)
    changes = closing.tell_changes(config, found, result.digests if result else found.digests)
    wanted, votes = found.items * found.plan.reviews, _count(judgements)
    if as_json:
        told = asdict(found) | {"state": found.state, "votes": votes, "wanted": wanted, "changes": changes}
        click.echo(json.dumps(told | {"judgements": [asdict(one) for one in judgements]}, indent=2))
    else:
        _print(found, judgements, f"{votes} of {wanted} votes", changes)
        if result:
            click.echo(f"Closed by {result.by}, {_when(result.at)}.")
    lines = check_policy(config, found.refs, stage, "review") if stage else []
    lines += [Line(found.id, "all votes", votes >= wanted, f"{votes} of {wanted}.")] if complete else []
    tell(lines, junit, quiet=as_json)


@review.command()
@click.argument("id", metavar="REVIEW")
@click.option("--policy", "stage", type=_STAGES, help=_POLICY)
@click.option("--junit", type=click.Path(path_type=Path), default=None, help=JUNIT_HELP)
def close(id: str, stage: str | None, junit: Path | None) -> None:
    """Fix the result of a review: no vote comes to it any more."""
    from phi3core.access import roles
    from phi3core.evaluation.reviews import closing
    from phi3core.evaluation.reviews.review import read_review

    config: Settings = load_settings()
    result = closing.close(config, read_review(config, id), roles.local_person(config))
    click.echo(f"The review is closed with {_count(result.judgements)} votes.")
    if stage:
        tell(check_policy(config, read_review(config, id).refs, stage, "review"), junit)


def _print(found: Review, judgements: list[Judgement], progress: str, changes: list[str]) -> None:
    click.echo(f"{found.plan.question} ({', '.join(found.refs)}; {found.prompt_set}; {found.state})")
    click.echo(f"{progress}.")
    for sentence in changes:
        click.echo(sentence)
    said: Counter[tuple[str, str, str]] = Counter()
    for one in judgements:
        if one.check:
            continue
        sides = {"left": one.left, "right": one.right}
        value = sides.get(str(one.value), str(one.value)) if one.form != "text" else "text"
        said[f"{one.left} and {one.right}" if one.right else one.left, one.criterion, value] += 1
    print_table(["OF", "CRITERION", "VOTE", "TIMES"], [[*key, str(count)] for key, count in sorted(said.items())])


def _count(judgements: Any) -> int:
    """How many votes: a vote on several criteria is one."""
    return len({(one.item, one.reviewer) for one in judgements if not one.check})


def _deadline(text: str) -> int:
    """The end of a day, in milliseconds since 1970; 0 for none."""
    if not text:
        return 0
    try:
        day = datetime.strptime(text, "%Y-%m-%d").replace(tzinfo=UTC)
    except ValueError as error:
        raise BadInput(f"“{text}” is no day. Write it as 2026-12-31.") from error
    return to_ms(day + timedelta(days=1)) - 1


def _when(milliseconds: int) -> str:
    return f"{from_ms(milliseconds):%Y-%m-%d %H:%M}"
