"""What a model costs to run: tokens per second, time to first token, memory; and how busy the machine was meanwhile.

Runs in a process of its own, so that the memory is the model's alone and a model that crashes the runtime
takes nothing else down; and in a cell, for the model may be a stranger's.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
import traceback
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import psutil
from pydantic import TypeAdapter

from phi3core import tags
from phi3core.cell import environment, run
from phi3core.cell.cell import FILE_SIZE, Cell
from phi3core.cell.own_folder import own_folder
from phi3core.engine import cpu
from phi3core.errors import BuildError, Phi3Error
from phi3core.links import linked_files
from phi3core.registry.conditions import Conditions

_QUESTION, _WARMING = "Write a short story about the sea.", "Count to ten."
_TOLD = 3  # exit status: the last line of stderr is a sentence of ours
_TOKENS = 64


@dataclass(frozen=True)
class Measurement:
    """tokens_per_second while decoding; first_token_ms from the prompt; peak_memory_bytes of the process."""

    tokens_per_second: float
    first_token_ms: float
    peak_memory_bytes: float
    sample: str
    conditions: Conditions

    @property
    def metrics(self) -> dict[str, float]:
        """The metrics of the version's source run, by name."""
        found = {
            tags.TOKENS_PER_SECOND: self.tokens_per_second,
            tags.FIRST_TOKEN_MS: self.first_token_ms,
            tags.PEAK_MEMORY: self.peak_memory_bytes,
        }
        load = self.conditions.load
        return found if load is None else found | {tags.LOAD: load * 100}


_FORM = TypeAdapter(Measurement)


@dataclass(frozen=True)
class CpuTimes:
    """Seconds of processor time so far. total and busy: of all cores together. own: this process's."""

    total: float
    busy: float
    own: float


def measure_model(folder: Path, kind: str, precision: str = "auto") -> Measurement:
    """Load a model in a new process and let it answer. Raises BuildError when it can't.

    Args:
        folder: a logged model's where kind is ``logged``, else the weights'.
        kind: ``logged``, or the wrapper of weights that are not logged yet.
        precision: of weights for the Transformers wrapper.
    """
    with own_folder() as own:
        shut_in = Cell((folder, *linked_files(folder)), Path(own), file_size=FILE_SIZE)
        command = run.command(shut_in, "phi3core.build.measure", [str(folder), kind, precision])
        given = environment.allowed(own)
        done = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL, env=given)
    if done.returncode == 0:
        return _FORM.validate_json(done.stdout.splitlines()[-1])
    if done.returncode < 0:
        raise BuildError(
            f"The model crashed its runtime (signal {-done.returncode}) when it was tried. Its files are damaged, or "
            "memory ran out."
        )
    print(done.stderr, file=sys.stderr, flush=True)  # for the build's log
    lines = done.stderr.strip().splitlines() or ["it printed nothing"]
    if done.returncode == _TOLD:
        told = lines[-1].removeprefix("The model can't be loaded. ")
        raise BuildError(f"The model could not answer when it was tried. {told}")
    raise BuildError(f"The model could not answer when it was tried: {lines[-1][:300]}")


def main(folder: str, kind: str, precision: str) -> None:
    """The body of the child process: print one line of JSON."""
    from phi3core.engine.interface import Done, Options, Piece
    from phi3core.engine.loader import open_artifact
    from phi3core.engine.weights import open_weights

    where = Path(folder)
    engine = open_artifact(where) if kind == "logged" else open_weights(where, kind, precision=precision)
    # Without a chat template these are raw prompts.
    prompt, warming = (engine.prepare([{"role": "user", "content": text}]) for text in (_QUESTION, _WARMING))
    options = Options(max_tokens=_TOKENS, seed=1)  # not the version's own: drawing a token by them takes other times
    # The first answer pays for lazy initialisation. Of another prompt, because what was read once is kept.
    for _ in engine.stream(warming, options.but(max_tokens=2), lambda: False):
        pass
    before, when = read_cpu_times(), datetime.now(UTC)
    started, first, text, tokens = time.perf_counter(), 0.0, [], 0
    for piece in engine.stream(prompt, options, lambda: False):
        if isinstance(piece, Done):
            tokens = piece.completion_tokens
        elif isinstance(piece, Piece):
            first = first or time.perf_counter()
            text.append(piece.text)
    ended = time.perf_counter()
    load = other_load(before, read_cpu_times())
    first = first or ended
    speed = (tokens - 1) / (ended - first) if tokens > 1 and ended > first else 0.0
    info = psutil.Process().memory_info()
    peak = float(getattr(info, "peak_wset", 0) or _peak_rss() or info.rss)
    conditions = describe_machine(load, when)
    measured = Measurement(speed, (first - started) * 1000, peak, "".join(text), conditions)
    print(json.dumps(_FORM.dump_python(measured, mode="json")))  # in ASCII: a sample may hold any line separator


def describe_machine(load: float | None, when: datetime) -> Conditions:
    """This machine, with the load and the time of a measurement."""
    cores, memory = psutil.cpu_count() or 1, psutil.virtual_memory().total
    return Conditions(cpu.cpu_name(), cores, cpu.thread_count(), memory, load, when)


def read_cpu_times() -> CpuTimes:
    """What the system has counted until now."""
    times = psutil.cpu_times()
    guests = getattr(times, "guest", 0.0) + getattr(times, "guest_nice", 0.0)  # counted in user and nice, too
    total = sum(times) - guests
    own = psutil.Process().cpu_times()
    return CpuTimes(total, total - times.idle - getattr(times, "iowait", 0.0), own.user + own.system)


def other_load(before: CpuTimes, after: CpuTimes) -> float | None:
    """The share of all cores that other processes took in between, 0 to 1; None where the system counted nothing."""
    total = after.total - before.total
    if total <= 0:
        return None
    return min(max((after.busy - before.busy - (after.own - before.own)) / total, 0.0), 1.0)


def _peak_rss() -> int:
    """Peak resident memory of this process in bytes (getrusage: kibibytes on Linux, bytes on macOS)."""
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


if __name__ == "__main__":
    try:
        main(*sys.argv[1:4])
    except Phi3Error as failure:
        traceback.print_exc()
        print(str(failure).replace("\n", " "), file=sys.stderr)
        sys.exit(_TOLD)
