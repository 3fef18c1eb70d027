"""Talking to a version, and answering files of prompts."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from phi3core.errors import BadInput, Phi3Error
from phi3core.settings import Settings, load_settings
from phi3core.text import two_digits

from .group import REF_HELP, main

if TYPE_CHECKING:
    from phi3core.chat.conversation import Conversation
    from phi3core.chat.live_turn import LiveTurn
    from phi3core.traces.turn import Turn


@main.command(help=f"Talk to a version: one PROMPT, or line by line without one. {REF_HELP}")
@click.argument("ref")
@click.argument("prompt", required=False)
@click.option("--system", default="", help="The system prompt.")
@click.option("--max-tokens", type=int, default=None)
@click.option("--temperature", type=float, default=None)
@click.option("--seed", type=int, default=None)
@click.option("--json", "as_json", is_flag=True, help="Print the whole turn as JSON when it has ended.")
def chat(ref: str, prompt: str | None, system: str, as_json: bool, **options: Any) -> None:
    """Stream answers to the terminal."""
    from phi3core.chat.conversation import Conversation
    from phi3core.registry import reader
    from phi3core.registry.reference import parse_reference

    config = load_settings()
    version = reader.get_version(config, ref)
    with open_pool(config) as pool, _flushed_history(config):
        conversation = Conversation(config, pool)
        for question in [prompt] if prompt is not None else _typed_lines(version.ref):
            live = conversation.ask(version, question, system, options, asked_ref=str(parse_reference(ref)))
            try:
                _print_turn(live, as_json)
            except Phi3Error as error:
                if prompt is not None:
                    raise
                click.echo(f"Error: {error}", err=True)  # the conversation goes on
            finally:
                conversation.settle(0)


@contextlib.contextmanager
def _flushed_history(config: Settings) -> Iterator[None]:
    """Before the program ends, send the turns to the store."""
    from phi3core.chat import history

    try:
        yield
    finally:
        if not history.flush(config):
            click.echo("What was said waits for the store on this machine; the app sends it when it runs.", err=True)


def _print_turn(live: Any, as_json: bool) -> None:
    turn, shown = live.turn, 0
    try:
        for _ in live.follow(every=0.02):
            if not as_json:
                click.echo(turn.answer[shown:], nl=False)
                shown = len(turn.answer)
    except KeyboardInterrupt:
        live.stop()
        live.wait()
    if turn.state == "failed":
        raise Phi3Error(turn.error)
    if as_json:
        click.echo(json.dumps(turn.plain(), indent=2))
    else:
        click.echo()
        facts = turn.ref
        if turn.completion_tokens:
            facts += f" · {turn.prompt_tokens} + {turn.completion_tokens} tokens"
        if turn.tokens_per_second:
            facts += f" · {two_digits(turn.tokens_per_second)} tokens/s · first token {turn.first_token_ms:.0f} ms"
        click.echo(click.style(facts, dim=True), err=True)


def _typed_lines(ref: str) -> Iterator[str]:
    click.echo(f"Talking to {ref}. An empty line ends it.", err=True)
    while True:
        try:
            line = input("> ")
        except (EOFError, KeyboardInterrupt):
            return
        if not line.strip():
            return
        yield line


@main.command(help=f"Answer a file of prompts, one per line, or JSON lines with a “prompt”. {REF_HELP}")
@click.argument("ref")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--output", type=click.Path(path_type=Path), required=True, help="JSON lines: one turn per prompt.")
@click.option("--max-tokens", type=int, default=None)
@click.option("--temperature", type=float, default=None)
@click.option("--seed", type=int, default=None)
def batch(ref: str, file: Path, output: Path, **options: Any) -> None:
    """Answer many prompts; under “mlflow run” the answers become an artifact of the run."""
    from phi3core.chat.conversation import Conversation
    from phi3core.registry import reader
    from phi3core.registry.reference import parse_reference

    config = load_settings()
    questions = _read_questions(file)
    version = reader.get_version(config, ref)
    if output.is_dir():
        raise BadInput(f"{output} is a folder: name a file in it.")
    part = output.with_name(output.name + ".part")
    asked_ref = str(parse_reference(ref))

    def ask(question: str) -> tuple[Conversation, LiveTurn]:
        conversation = Conversation(config, pool)
        return conversation, conversation.ask(version, question, options=options, asked_ref=asked_ref)

    with open_pool(config) as pool, _flushed_history(config), open_output(part) as out:
        turns = _turns_in_order(map(ask, questions), config.parallel)
        for number, turn in enumerate(turns, start=1):
            if turn.state == "failed":
                raise Phi3Error(f"Prompt {number} of {len(questions)}: {turn.error}")
            out.write(json.dumps(turn.plain()) + "\n")
            out.flush()
            click.echo(f"{number} of {len(questions)} answered", err=True)
    part.replace(output)  # earlier answers stay until all the new ones are there
    if run_id := os.environ.get("MLFLOW_RUN_ID"):
        from phi3core.store.client import mlflow_client, translate_errors

        with translate_errors(config):
            mlflow_client(config).log_artifact(run_id, str(output))
    click.echo(f"Wrote {len(questions)} answers of {version.ref} to {output}.")


def _turns_in_order(asked: Iterator[tuple[Conversation, LiveTurn]], at_once: int) -> Iterator[Turn]:
    """Ended turns, one after the other, while so many are written at once, each asked for when there is room."""
    running: deque[tuple[Conversation, LiveTurn]] = deque(itertools.islice(asked, at_once))
    try:
        while running:
            conversation, live = running[0]
            turn = live.wait()
            conversation.settle(0)
            running.popleft()
            yield turn
            running.extend(itertools.islice(asked, 1))
    finally:  # one has failed: the others are not wanted any more
        for _, live in running:
            live.stop()
        for conversation, _ in running:
            conversation.settle(0)


@contextlib.contextmanager
def open_output(path: Path) -> Iterator[Any]:
    try:
        with path.open("w", encoding="utf-8", newline="") as file:
            yield file
    except OSError as error:
        raise BadInput(f"{path.parent} can't be written to: {error.strerror}.") from error


def _read_questions(file: Path) -> list[str]:
    try:
        lines = [line for line in file.read_text().splitlines() if line.strip()]
    except OSError as error:
        raise BadInput(f"{file} can't be read: {error.strerror}.") from error
    except UnicodeDecodeError as error:
        raise BadInput(f"{file} is no text in UTF-8: save it as such.") from error
    if not lines:
        raise BadInput(f"{file} holds no prompts: write one per line.")
    return [_parse_question(line, number) for number, line in enumerate(lines, start=1)]


def _parse_question(line: str, number: int) -> str:
    if not line.lstrip().startswith("{"):
        return line
    try:
        return str(json.loads(line)["prompt"])
    except (ValueError, KeyError) as error:
        raise BadInput(f"Line {number} is no JSON object with a “prompt”: {line[:80]}") from error


@main.command()
@click.argument("conversation_id", metavar="ID")
@click.option("--output", type=click.Path(path_type=Path), required=True, help="A file, .md, .json or .jsonl.")
def export(conversation_id: str, output: Path) -> None:
    """Write a conversation to a file: as Markdown or JSONL the answers that are shown, as JSON everything.

    ID stands in the address of its page, as in /chat?c=ID.
    """
    from phi3core.chat import import_export, markdown_export
    from phi3core.chat.live_conversations import load_conversation

    formats: dict[str, Any] = {
        ".md": markdown_export.to_markdown,
        ".json": import_export.to_json,
        ".jsonl": lambda conversation: import_export.to_jsonl([conversation]),
    }
    write = formats.get(output.suffix.lower())
    if write is None:
        raise BadInput(f"{output} tells no format: end its name with {', '.join(formats)}.")
    config = load_settings()
    with open_pool(config) as pool:
        text = write(found := load_conversation(config, pool, conversation_id))
    with open_output(output) as out:
        out.write(text)
    click.echo(f"Wrote “{found.title}” to {output}.")


@main.command("import")
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path))
def import_(files: tuple[Path, ...]) -> None:
    """Read conversations from files that “export” or the Conversations page wrote, or of OpenAI messages."""
    from phi3core.chat import import_export

    config = load_settings()
    with open_pool(config) as pool, _flushed_history(config):
        for file in files:
            try:
                data = file.read_bytes()
            except OSError as error:
                raise BadInput(f"{file} can't be read: {error.strerror}.") from error
            for made in import_export.import_file(config, pool, file.name, data):
                click.echo(f"{made.id}  {made.title}")


@contextlib.contextmanager
def open_pool(config: Settings) -> Iterator[Any]:
    from phi3core.promotion.code_trust import is_trusted
    from phi3core.serving.pool import Pool

    pool = Pool(config, approve=is_trusted)
    try:
        yield pool
    finally:
        pool.close()
