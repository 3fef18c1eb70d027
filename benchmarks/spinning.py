"""What active waiting of the computing threads brings, and what it costs beside a busy process.

    python -m benchmarks.spinning FOLDER

FOLDER is of onnxruntime-genai's. Prints tokens/s of one answer and of eight by how long a thread waits actively for the
next piece of work: as onnxruntime has it, for some microseconds, not at all. The ways take turns, first on the machine
as it is, then beside a process that keeps one core busy.
"""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from unittest.mock import patch

import onnxruntime as ort

from phi3core.engine.cpu import thread_count
from phi3core.engine.decoder import Decoder, Row
from phi3core.engine.decoder_graph import read_graph

from .tables import median

WAYS = {
    "as it comes": {},
    "200 µs": {"session.intra_op.spin_duration_us": "200"},
    "50 µs": {"session.intra_op.spin_duration_us": "50"},
    "passively": {"session.intra_op.allow_spinning": "0"},
}
ROUNDS, STEPS, CONTEXT = 12, 20, 256


def main() -> None:
    rows = {way: load(Path(sys.argv[1]), entries) for way, entries in WAYS.items()}
    for busy in (False, True):
        print("beside a busy process" if busy else "as the machine is")
        with busy_process() if busy else contextlib.nullcontext():
            for count in (1, 8):
                times: dict[str, list[float]] = {way: [] for way in WAYS}
                for _ in range(ROUNDS):
                    for way, own in rows.items():
                        times[way].append(seconds_a_step(own[:count]))
                told = ", ".join(f"{way} {count / median(seen):.0f}" for way, seen in times.items())
                print(f"    tokens/s of {count}: {told}", flush=True)


def load(folder: Path, entries: dict[str, str]) -> list[Row]:
    """Eight sequences of a model whose threads wait so."""
    config = json.loads((folder / "genai_config.json").read_text())
    graph = read_graph(folder, config)
    if graph is None:
        sys.exit(f"The graph of {folder} is not one that plain onnxruntime runs here.")
    options = ort.SessionOptions()
    for name, value in entries.items():
        options.add_session_config_entry(name, value)
    with patch.object(ort, "SessionOptions", lambda: options):
        decoder = Decoder(graph, folder, config["model"]["vocab_size"], 1024, thread_count())
    rows = [decoder.row() for _ in range(8)]
    for layer in decoder.slots.layers:
        layer[: len(rows), :, :CONTEXT] = 0.01
    return rows


def seconds_a_step(rows: list[Row]) -> float:
    """Of a token of each, in the middle of what they know."""
    for row in rows:
        row.length = CONTEXT // 2
    began = time.perf_counter()
    for _ in range(STEPS):
        for row in rows:
            row.append_one(1)
        rows[0].logits()
    return (time.perf_counter() - began) / STEPS


@contextlib.contextmanager
def busy_process() -> Iterator[None]:
    """Another program that computes all the time."""
    with subprocess.Popen([sys.executable, "-c", "while True: pass"]) as process:
        try:
            yield
        finally:
            process.kill()


if __name__ == "__main__":
    main()
