"""The harness as a program: its environment, its command line, its progress and its results."""

from __future__ import annotations

import importlib.resources
import json
import os
import re
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from phi3core import folder_cache, hashing
from phi3core.build.sources.source import Report
from phi3core.cell import environment as environments
from phi3core.errors import Cancelled, ServerError, SourceError

from . import harness_main
from .wheels import LLAMA_INDEX, fetch_wheel

HARNESS = "lm-eval 0.4.13"
_PUNKT = "llama_index/core/_static/nltk_cache/tokenizers/punkt_tab/english/"
_TOGETHER = 256  # prompts in a request: those with the same beginning are mostly in the same one
_CONVERSATIONS = 8  # at once
_PATIENCE = 3600  # seconds that the harness waits for an answer
_PROGRESS = re.compile(rb"Requesting API:\s+\d+%\|[^|]*\|\s*(\d+)/(\d+)")


@dataclass(frozen=True)
class Asked:
    """A run of the harness.

    url: of the model server, ending in /v1. model: what it calls the version. tokenizer: a folder. context: tokens.
    by: see Suite. task: the harness's, described in the folder `work` unless it is the harness's own. offline: ask no
    hub for data.
    """

    url: str
    key: str
    model: str
    tokenizer: Path
    context: int
    by: str
    task: str
    work: Path
    seed: int
    offline: bool = True
    limit: int | None = None


def make_environment(cache: Path, report: Report, stopped: Callable[[], bool]) -> Path:
    """The Python of the environment that the harness runs in, made where it is not there.

    Raises SourceError, or Cancelled where it was stopped.
    """
    wanted = importlib.resources.files(__package__).joinpath("requirements-eval.txt").read_text()
    key = hashing.hash_texts(wanted, sys.version.split()[0])

    def make(part: Path) -> None:
        report(None, f"installing {HARNESS} into an environment of its own (670 MB, once)")
        requirements = part / "requirements.txt"
        requirements.write_text(wanted)
        _uv(stopped, "venv", "--quiet", "--python", sys.executable, str(part / "venv"))
        python = str(part / "venv" / "bin" / "python")
        _uv(stopped, "pip", "install", "--quiet", "--no-deps", "--python", python, "-r", str(requirements))

    return folder_cache.get_or_make(cache, "benchmark-harness", key, make) / "venv" / "bin" / "python"


def _uv(stopped: Callable[[], bool], *arguments: str) -> None:
    import uv

    with tempfile.TemporaryFile("w+") as said:
        process = subprocess.Popen(
            [uv.find_uv_bin(), *arguments],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=said, env=_uv_environment(),
        )  # fmt: skip
        status = _wait(process, stopped, lambda: None)
        if status is None:
            raise Cancelled("The benchmark was stopped while its harness was being installed.")
        if status:
            said.seek(0)
            reason = (said.read().strip().splitlines() or ["uv said nothing"])[-1]
            raise SourceError(f"The harness's environment can't be made ({reason}). Check the network, then try again.")


def _uv_environment() -> dict[str, str]:
    """What uv is given of the environment: a package that it builds runs its own code, and sees none of the secrets.

    Where packages come from and are kept is this user's own choice.
    """
    kept = ("HOME", "XDG_CONFIG_HOME", "XDG_CACHE_HOME", "XDG_DATA_HOME", "NETRC")
    own = {
        name: value
        for name, value in os.environ.items()
        if name in kept or (name.startswith("UV_") and not name.startswith("UV_PUBLISH"))
    }
    return environments.allowed(tempfile.gettempdir(), network=True) | own


def tasks_of(python: Path) -> Path:
    """The folder of the harness's own tasks in its environment."""
    return next(python.parent.parent.glob("lib/python*/site-packages/lm_eval")) / "tasks"


def fetch_sentences(cache: Path, report: Report) -> Path:
    """A folder for NLTK_DATA: what divides English texts into sentences, which IFEval counts.

    Without it the harness fails after all of its questions were answered. Raises SourceError.
    """
    wheel = fetch_wheel(cache, LLAMA_INDEX, report)

    def make(part: Path) -> None:
        folder = part / "tokenizers" / "punkt_tab" / "english"
        folder.mkdir(parents=True)
        with zipfile.ZipFile(wheel) as archive:
            for name in archive.namelist():
                if name.startswith(_PUNKT) and not name.endswith("/"):
                    (folder / Path(name).name).write_bytes(archive.read(name))

    return folder_cache.get_or_make(cache, "benchmark-nltk", LLAMA_INDEX.sha256, make)


def command(python: Path, asked: Asked) -> list[str]:
    """The harness's own command line."""
    likelihood = asked.by == "likelihood"
    # As JSON: in the form NAME=VALUE,… a name that somebody else chose could be further arguments.
    model = {
        "model": asked.model,
        "base_url": f"{asked.url}/{'completions' if likelihood else 'chat/completions'}",
        "tokenizer_backend": "huggingface",
        "tokenizer": str(asked.tokenizer),
        "max_length": asked.context,
        "num_concurrent": 1 if likelihood else _CONVERSATIONS,
        "timeout": _PATIENCE,
        "tokenized_requests": likelihood,
        "seed": asked.seed,
    }
    line = [
        *(str(python), "-I", "-u", str(harness_main.__file__), "run"),
        *("--model", "local-completions" if likelihood else "local-chat-completions"),
        *("--model_args", json.dumps(model)),
        *("--tasks", asked.task, "--include_path", str(asked.work)),
        *("--batch_size", str(_TOGETHER) if likelihood else "1"),
        *("--seed", str(asked.seed)),
        *("--use_cache", str(asked.work / "answers")),  # those that came before it was interrupted
        *("--output_path", str(asked.work / "results")),
    ]
    line += [] if likelihood else ["--apply_chat_template"]
    line += ["--limit", str(asked.limit)] if asked.limit else []
    return line


def environment(asked: Asked, sentences: Path | None) -> dict[str, str]:
    """What the harness's process is given of the environment: none of the app's secrets."""
    kept = ("PATH", "LANG", "SSL_CERT_FILE", "HF_ENDPOINT", "HTTPS_PROXY", "HTTP_PROXY")
    given = {name: os.environ[name] for name in kept if name in os.environ}
    given |= {"HOME": str(asked.work), "HF_HOME": str(asked.work / "hub"), "OPENAI_API_KEY": asked.key}
    given |= {"NO_PROXY": "127.0.0.1,localhost", "TOKENIZERS_PARALLELISM": "false", "PYTHONUNBUFFERED": "1"}
    if asked.offline:
        given |= {"HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1"}
    return given | ({"NLTK_DATA": str(sentences)} if sentences else {})


def run(
    line: list[str], given: Mapping[str, str], log: Path, report: Report, stopped: Callable[[], bool]
) -> int | None:
    """Run the harness to its end, its output in a file. Returns its exit status; None where it was stopped."""
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("wb") as out:
        # A pipe, which closes when this process ends, however that is: the harness ends then, too.
        process = subprocess.Popen(
            line, stdin=subprocess.PIPE, stdout=out, stderr=subprocess.STDOUT, env=dict(given), cwd=log.parent
        )
    told: tuple[int, int] | None = None

    def tell() -> None:
        nonlocal told
        if (found := last_progress(log)) and found != told:
            told, (done, total) = found, found
            report(done / max(total, 1), f"{done:,} of {total:,} requests answered")

    return _wait(process, stopped, tell)


def _wait(process: subprocess.Popen[bytes], stopped: Callable[[], bool], tell: Callable[[], None]) -> int | None:
    """Wait for a process, which ends here. Returns its exit status; None where it was stopped. tell: called while."""
    try:
        while True:
            try:
                return process.wait(0.5)
            except subprocess.TimeoutExpired:
                pass
            if stopped():
                return None
            tell()
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
        if process.stdin:
            process.stdin.close()


def last_progress(log: Path) -> tuple[int, int] | None:
    """How many requests are answered, and of how many, as the harness has told last."""
    with log.open("rb") as file:
        file.seek(max(0, log.stat().st_size - 4000))
        found = _PROGRESS.findall(file.read())
    return (int(found[-1][0]), int(found[-1][1])) if found else None


def read_results(work: Path) -> dict[str, Any]:
    """What the harness has written of its run. Raises ServerError where there is nothing."""
    files = sorted((work / "results").rglob("results_*.json"))
    if not files:
        raise ServerError(f"The harness has written no results. {last_words(work / 'log.txt')}")
    found: dict[str, Any] = json.loads(files[-1].read_text())
    return found


def last_words(log: Path) -> str:
    """The last line of the harness's output that says something, and where all of it stands."""
    lines = [line.strip() for line in re.split(r"[\r\n]", log.read_text(errors="replace")[-20_000:])]
    said = next((line for line in reversed(lines) if "Error" in line or "error" in line), "")
    return f"It said: {said[:300]} ({log})" if said else f"Its output is in {log}."
