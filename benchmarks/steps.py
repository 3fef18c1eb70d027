"""What one step of several answers costs, against one answer alone: by how many there are and what they have read.

    python -m benchmarks.steps FOLDER

In one process, without a client: FOLDER is of onnxruntime-genai's. Steps of different sizes take turns, so that the
ratios hold on a machine that has other work too; the tokens/s do not.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

from phi3core.engine.cpu import thread_count
from phi3core.engine.decoder import Decoder, Row
from phi3core.engine.decoder_graph import read_graph

from .tables import median, row

ROUNDS = 15
LIMITS = {256: {8: 2.3, 16: 2.6}, 1024: {8: 1.9, 16: 1.9}, 3500: {8: 1.4, 16: 1.4}}
"""Tokens/s in all against one alone, by the context and by the number of answers."""


def main() -> None:
    folder = Path(sys.argv[1])
    config = json.loads((folder / "genai_config.json").read_text())
    graph = read_graph(folder, config)
    if graph is None:
        sys.exit(f"The graph of {folder} is not one that plain onnxruntime runs here.")
    decoder = Decoder(graph, folder, config["model"]["vocab_size"], 4096, thread_count())
    rows = [decoder.row() for _ in range(16)]
    print(f"{thread_count()} threads; batches are exact here: {decoder.exact}")
    for context, limits in LIMITS.items():
        for layer in decoder.slots.layers:  # pages that were never written to are one and the same to the system
            layer[: len(rows), :, :context] = 0.01
        seen: dict[int, list[float]] = {count: [] for count in (1, *limits)}
        for _ in range(ROUNDS):
            for count, times in seen.items():
                times.append(step(rows[:count], context))
        alone = median(seen[1])
        for count, limit in limits.items():
            ratio = median([count * one / all_ for one, all_ in zip(seen[1], seen[count], strict=True)])
            told = f"{count / median(seen[count]):.0f}, {1 / alone:.0f} tokens/s"
            row(f"{count} answers at {context:,} tokens of context, in all / one alone", ratio, limit, True, told)


def step(rows: list[Row], context: int) -> float:
    """Seconds for a token of each, whatever they have read."""
    for one in rows:
        one.length = context
        one.append_one(1)
    began = time.perf_counter()
    rows[0].logits()
    return time.perf_counter() - began


if __name__ == "__main__":
    main()
