"""``python -m phi3core``: the same calls as the pages, for scripts and terminals."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import click
from filelock import FileLock

from . import keys, settings
from .errors import BadInput, Cancelled, Phi3Error
from .settings import Settings

REF_HELP = "REF is name/3, name@alias or name/Production."


class Commands(click.Group):
    """Shows our errors as one sentence, without a traceback."""

    def invoke(self, context: click.Context) -> Any:
        try:
            return super().invoke(context)
        except Phi3Error as error:
            raise click.ClickException(str(error)) from error


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
def main() -> None:
    """Build Phi-3 as an MLflow model, register it, promote it, and talk to it."""
    # A program that ends us with SIGTERM wants the same tidy end as Ctrl-C; and a shell that starts us in the
    # background has SIGINT ignored, so that Python would not hear it.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler)


# ---------------------------------------------------------------- building


@main.command()
def demo() -> None:
    """Register the embedded model both ways, as phi3-embedded/1 and /2, unless that is done already."""
    prepare_demo(settings.load())


@main.command()
@click.option("--wrapper", type=click.Choice(keys.WRAPPERS), required=True)
@click.option(
    "--source", default="embedded", show_default=True, help="embedded, a folder, or hf:owner/repo[@rev][/folder]"
)
@click.option("--name", default=None, help="The registered model. Default: phi3-embedded, or the source's own name.")
@click.option(
    "--precision", default="", help="transformers: bfloat16, float32, float16. onnx: int4, int4-mixed, int8, fp32."
)
@click.option(
    "--signature", type=click.Choice(["prompt", "chat"]), default="prompt", show_default=True, help="onnx only."
)
@click.option("--max-tokens", type=int, default=300, show_default=True, help="The default length of an answer.")
@click.option("--temperature", type=float, default=None, help="The default temperature. Default: the model's own.")
@click.option("--json", "as_json", is_flag=True, help="Print the version as JSON.")
def build(name: str | None, as_json: bool, **options: Any) -> None:
    """Build a version and register it. Ctrl-C cancels; nothing is registered then."""
    from . import registry
    from .build import BuildSpec, suggest_name

    config = settings.load()
    spec = BuildSpec(name=name or suggest_name(options["source"]), **options)
    job = _build(config, spec, err=as_json)
    if as_json:
        click.echo(json.dumps(registry.as_json(registry.resolve(config, job.ref)), indent=2))
    else:
        click.echo(f"Registered {job.ref}.")


def prepare_demo(config: Settings) -> None:
    """Build what is missing of the demo, one version after the other."""
    from . import registry
    from .build import BuildSpec
    from .errors import NotFound

    with FileLock(config.locks / "demo.lock"):
        try:
            there = registry.versions(config, keys.DEMO_MODEL)
        except NotFound:
            there = []
        made = {v.wrapper for v in there if v.tags.get(keys.SOURCE) == "embedded"}
        if "onnx" in made:
            return  # the last one is there; an earlier one that is not was deleted by somebody
        for number, wrapper in enumerate(keys.WRAPPERS, start=1):
            if wrapper in made:
                continue
            click.echo(f"Building {keys.DEMO_MODEL}, {number} of {len(keys.WRAPPERS)}: the {wrapper} wrapper")
            job = _build(config, BuildSpec(wrapper))  # type: ignore[arg-type]
            click.echo(f"  Registered {job.ref}.")


def _build(config: Settings, spec: Any, err: bool = False) -> Any:
    """Build, printing each step with its progress until it has ended; Ctrl-C cancels it."""
    from . import jobs
    from .build import TITLES

    shown: dict[str, str] = {}
    job, run_id = None, ""
    try:
        run_id = jobs.start(config, spec)
        for job in jobs.follow(config, run_id):
            for number, step in enumerate(job.steps, start=1):
                if step.state == "waiting":
                    continue
                share = f"{step.fraction:4.0%} " if step.fraction is not None and step.state == "running" else ""
                text = f"{step.seconds:.1f} s" if step.seconds is not None else share + step.text
                line = f"  {number}/{len(job.steps)} {TITLES[step.name]}: {text}"
                # One line per new thing said and per tenth, so that a log stays readable.
                said = step.state + re.sub(r"[\d., %]+", "", step.text) + str(int((step.fraction or 0) * 10))
                if shown.get(step.name) != said:
                    shown[step.name] = said
                    click.echo(line, err=err)
    except KeyboardInterrupt:
        with contextlib.suppress(BadInput):
            if run_id:
                jobs.cancel(config, run_id)
        job = jobs.get(config, run_id) if run_id else None
        if job is None or job.status != "FINISHED":  # it may have been past the point of no return
            raise Cancelled("Stopped; nothing was registered. Run it again to go on from what is prepared.") from None
    assert job is not None
    if job.status != "FINISHED":
        raise Phi3Error(f"{job.reason} The log is {jobs.log_path(config, run_id)}.")
    return job


# ---------------------------------------------------------------- the registry


@main.command()
@click.argument("name", required=False)
@click.option("--json", "as_json", is_flag=True, help="Print a JSON list.")
def models(name: str | None, as_json: bool) -> None:
    """List the registered models, or the versions of model NAME."""
    from . import registry

    config = settings.load()
    rows = registry.versions(config, name) if name else registry.models(config)
    if as_json:
        click.echo(json.dumps([registry.as_json(row) for row in rows], indent=2))
    elif not rows:
        click.echo(
            "No versions yet." if name else "No models yet. “python -m phi3core demo” registers the embedded one."
        )
    elif name:
        head = ["VERSION", "STAGE", "ALIASES", "WRAPPER", "PRECISION", "SIZE", "TOKENS/S", "CREATED"]
        _table(head, [_version_row(row) for row in rows])
    else:
        head = ["MODEL", "NEWEST", "PRODUCTION", "STAGING", "UPDATED"]
        _table(head, [_model_row(row) for row in rows])


def _model_row(model: Any) -> list[str]:
    numbers = [str(number or "–") for number in (model.newest, model.production, model.staging)]
    return [model.name, *numbers, f"{model.updated:%Y-%m-%d %H:%M}"]


def _version_row(version: Any) -> list[str]:
    size = f"{version.size / 1e6:,.0f} MB" if version.size else "–"
    speed = version.metrics.get(keys.TOKENS_PER_SECOND)
    return [
        version.ref,
        version.stage,
        " ".join(f"@{alias}" for alias in version.aliases) or "–",
        version.wrapper or "–",
        version.precision or "–",
        size,
        f"{speed:.0f}" if speed else "–",
        f"{version.created:%Y-%m-%d %H:%M}",
    ]


def _table(head: list[str], rows: list[list[str]]) -> None:
    widths = [max(len(row[at]) for row in [head, *rows]) for at in range(len(head))]
    for row in [head, *rows]:
        click.echo("  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip())


@main.command(help=f"Move a version to a stage, or set or remove an alias. {REF_HELP}")
@click.argument("ref")
@click.option("--stage", help="None, Staging, Production or Archived. Who holds Production or Staging is archived.")
@click.option("--alias", help="Point this alias at the version.")
@click.option("--remove-alias", help="Remove this alias from the model.")
@click.option("--reason", default="", help="Why; kept on the record.")
@click.option("--json", "as_json", is_flag=True, help="Print the version as it is now as JSON.")
def promote(
    ref: str, stage: str | None, alias: str | None, remove_alias: str | None, reason: str, as_json: bool
) -> None:
    """Change the registry through the one path that keeps its record."""
    from . import promotion, registry

    if sum(option is not None for option in (stage, alias, remove_alias)) != 1:
        raise BadInput("Say one of --stage, --alias or --remove-alias.")
    config = settings.load()
    if stage is not None:
        done = promotion.promote(config, ref, stage, reason)
        version, said = done.version, f"{done.version.ref} is now in {done.stage}."
        if done.replaced:
            said += f" {done.replaced.ref} was archived."
    elif alias is not None:
        version = promotion.set_alias(config, ref, alias, reason)
        said = f"@{alias} now points at {version.ref}."
    else:
        version = registry.resolve(config, ref)
        promotion.delete_alias(config, version.name, str(remove_alias), reason)
        version, said = registry.resolve(config, version.ref), f"@{remove_alias} is removed from {version.name}."
    click.echo(json.dumps(registry.as_json(version), indent=2) if as_json else said)


# ---------------------------------------------------------------- talking


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
    from . import registry
    from .chat import Conversation

    config = settings.load()
    version = registry.resolve(config, ref)
    with _pool(config) as pool, _sent(config):
        conversation = Conversation(config, pool)
        for question in [prompt] if prompt is not None else _lines(version.ref):
            turn = conversation.ask(version, question, system, options, asked_ref=ref)
            try:
                _print_turn(turn, as_json)
            except Phi3Error as error:
                if prompt is not None:
                    raise
                click.echo(f"Error: {error}", err=True)  # the conversation goes on
            finally:
                conversation.settle(0)


@contextlib.contextmanager
def _sent(config: Settings) -> Iterator[None]:
    """Before the program ends, what was said is sent to the store."""
    from . import conversations

    try:
        yield
    finally:
        if not conversations.flush(config):
            click.echo("What was said waits for the store on this machine; the app sends it when it runs.", err=True)


def _print_turn(turn: Any, as_json: bool) -> None:
    shown = 0
    try:
        for _ in turn.follow(every=0.02):
            if not as_json:
                click.echo(turn.answer[shown:], nl=False)
                shown = len(turn.answer)
    except KeyboardInterrupt:
        turn.stop()
        for _ in turn.follow():
            pass
    if turn.state == "failed":
        raise Phi3Error(turn.error)
    if as_json:
        click.echo(json.dumps(turn.plain(), indent=2))
    else:
        click.echo()
        told = f"{turn.ref} · {turn.prompt_tokens} + {turn.completion_tokens} tokens"
        if turn.tokens_per_second:
            told += f" · {turn.tokens_per_second:.0f} tokens/s · first token {turn.first_token_ms:.0f} ms"
        click.echo(click.style(told, dim=True), err=True)


def _lines(ref: str) -> Iterator[str]:
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
    from . import registry
    from .chat import Conversation

    config = settings.load()
    questions = _questions(file)
    version = registry.resolve(config, ref)
    if output.is_dir():
        raise BadInput(f"{output} is a folder: name a file in it.")
    part = output.with_name(output.name + ".part")
    with _pool(config) as pool, _sent(config), _opened(part) as out:
        for number, question in enumerate(questions, start=1):
            conversation = Conversation(config, pool)
            turn = conversation.ask(version, question, options=options, asked_ref=ref)
            conversation.settle(0)
            if turn.state == "failed":
                raise Phi3Error(f"Prompt {number} of {len(questions)}: {turn.error}")
            out.write(json.dumps(turn.plain()) + "\n")
            out.flush()
            click.echo(f"{number} of {len(questions)} answered", err=True)
    part.replace(output)  # earlier answers stay until all the new ones are there
    if run_id := os.environ.get("MLFLOW_RUN_ID"):
        from .store import client, errors

        with errors(config):
            client(config).log_artifact(run_id, str(output))
    click.echo(f"Wrote {len(questions)} answers of {version.ref} to {output}.")


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[Any]:
    try:
        with path.open("w") as file:
            yield file
    except OSError as error:
        raise BadInput(f"{path.parent} can't be written to: {error.strerror}.") from error


def _questions(file: Path) -> list[str]:
    try:
        lines = [line for line in file.read_text().splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        raise BadInput(f"{file} can't be read: {error}.") from error
    if not lines:
        raise BadInput(f"{file} holds no prompts: write one per line.")
    return [_question(line, number) for number, line in enumerate(lines, start=1)]


def _question(line: str, number: int) -> str:
    if not line.lstrip().startswith("{"):
        return line
    try:
        return str(json.loads(line)["prompt"])
    except (ValueError, KeyError) as error:
        raise BadInput(f"Line {number} is no JSON object with a “prompt”: {line[:80]}") from error


@main.command(help=f"Serve a version over OpenAI's protocol. {REF_HELP}")
@click.argument("ref")
@click.option("--host", default="127.0.0.1", show_default=True, help="Beyond loopback an API key is needed.")
@click.option("--port", type=int, default=8000, show_default=True)
@click.option("--api-key", default=None, envvar="PHI3_API_KEY", help="Ask clients for this key.")
def serve(ref: str, host: str, port: int, api_key: str | None) -> None:
    """Serve until Ctrl-C."""
    from . import registry
    from .engine import open_artifact
    from .serving import server
    from .serving.guard import LOOPBACK

    if host not in LOOPBACK and not api_key:
        raise BadInput(f"Listening on {host} lets others in: set --api-key too, or stay on 127.0.0.1.")
    sock = server.bind(host, port)
    config = settings.load()
    version = registry.resolve(config, ref)
    folder = registry.download(config, version)
    click.echo(f"Loading {version.ref} …")
    engine = open_artifact(folder, version.name in config.trusted)
    names = list(dict.fromkeys([version.ref, ref]))
    app = server.create_app(
        lambda: engine, names, api_key, local=host in LOOPBACK, parallel=config.parallel, queue=config.queue
    )
    click.echo(f"Serving {version.ref} on http://{host}:{sock.getsockname()[1]}/v1 (Ctrl-C stops)")
    with contextlib.suppress(KeyboardInterrupt):  # uvicorn raises it again once it has ended tidily
        server.serve(app, sock)


@contextlib.contextmanager
def _pool(config: Settings) -> Iterator[Any]:
    from .serving.pool import Pool

    pool = Pool(config)
    try:
        yield pool
    finally:
        pool.close()


# ---------------------------------------------------------------- the app


@main.command()
@click.option("--port", type=int, default=8501, show_default=True)
def app(port: int) -> None:
    """Prepare the demo and serve the pages on http://localhost:PORT, on loopback only. What “make run” does."""
    from .serving.server import bind

    bind("127.0.0.1", port).close()
    config = settings.load()
    log = config.logs / "app.log"
    root = Path(__file__).resolve().parent.parent
    command = [sys.executable, "-m", "streamlit", "run", str(root / "server.py"), f"--server.port={port}"]
    with log.open("ab") as file:
        child = subprocess.Popen(
            command,
            cwd=root,
            stdin=subprocess.PIPE,
            stdout=file,
            stderr=subprocess.STDOUT,
            env={**os.environ, "PHI3_STOP_WITH_STDIN": "1"},
            start_new_session=True,
        )
    try:
        try:
            prepare_demo(config)  # while the app starts: both take a second or two when there is nothing to build
        except Cancelled:
            raise
        except Phi3Error as error:
            click.echo(f"The embedded model could not be prepared: {error}", err=True)
        _wait_for(lambda: _healthy(port), child, log)
        click.echo(f"The playground is at http://localhost:{port} (Ctrl-C stops it; logs are in {config.logs}).")
        child.wait()
    except KeyboardInterrupt:
        click.echo("Stopping.")
    finally:
        _end(child)
    if child.returncode not in (0, -signal.SIGTERM, -signal.SIGINT):
        raise Phi3Error(f"The app ended unexpectedly (exit status {child.returncode}). Its log is {log}.")


def _healthy(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/_stcore/health", timeout=2) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


def _wait_for(ready: Callable[[], bool], child: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + 60
    while not ready():
        if child.poll() is not None:
            last = (log.read_text(errors="replace").strip().splitlines() or ["it said nothing"])[-1]
            raise Phi3Error(f"The app could not start: {last} Its log is {log}.")
        if time.monotonic() > deadline:
            raise Phi3Error(f"The app did not answer within 60 s. Its log is {log}.")
        time.sleep(0.1)


def _end(child: subprocess.Popen[bytes]) -> None:
    """The app's children end with it."""
    child.terminate()
    try:
        child.wait(10)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()
