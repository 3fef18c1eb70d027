"""What a model costs to run: tokens per second, time to first token, memory.

Runs in a process of its own, so that the memory is the model's alone and a model that crashes the runtime
takes nothing else down.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import traceback
from dataclasses import asdict, dataclass
from pathlib import Path

from phi3core.errors import BuildError, Phi3Error

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


def measure_model(folder: Path, kind: str, precision: str = "auto") -> Measurement:
    """Load the weights in a new process and let them answer. Raises BuildError when they can't."""
    command = [sys.executable, "-m", "phi3core.build.measure", str(folder), kind, precision]
    done = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL, env=os.environ)
    if done.returncode == 0:
        return Measurement(**json.loads(done.stdout.splitlines()[-1]))
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
    import psutil

    from phi3core.engine.interface import Done, Piece
    from phi3core.engine.weights import open_weights

    engine = open_weights(Path(folder), kind, precision=precision)
    # Without a chat template these are raw prompts.
    prompt, warming = (engine.prepare([{"role": "user", "content": text}]) for text in (_QUESTION, _WARMING))
    options = engine.options.but(max_tokens=_TOKENS, seed=1)
    # The first answer pays for lazy initialisation. Of another prompt, because what was read once is kept.
    for _ in engine.stream(warming, options.but(max_tokens=2), lambda: False):
        pass
    started, first, text, tokens = time.perf_counter(), 0.0, [], 0
    for piece in engine.stream(prompt, options, lambda: False):
        if isinstance(piece, Done):
            tokens = piece.completion_tokens
        elif isinstance(piece, Piece):
            first = first or time.perf_counter()
            text.append(piece.text)
    ended = time.perf_counter()
    first = first or ended
    speed = (tokens - 1) / (ended - first) if tokens > 1 and ended > first else 0.0
    info = psutil.Process().memory_info()
    peak = float(getattr(info, "peak_wset", 0) or _peak_rss() or info.rss)
    print(json.dumps(asdict(Measurement(speed, (first - started) * 1000, peak, "".join(text)))))


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
