"""What the cell costs a model server: the same version opened and asked in turns, in a cell and without one."""

from __future__ import annotations

import os
import time
from contextlib import closing

import psutil

from phi3core.registry.models import Version
from phi3core.serving.pool import Pool
from phi3core.settings import Settings

from .clients import STORY, ask, client
from .tables import median, row

_ROUNDS, _TOKENS = 7, 200
_IMPORTED = 4.0  # seconds after which the spare process has imported what it needs


def cost(config: Settings, version: Version) -> None:
    """Opening, and tokens per second, in a cell against none."""
    opened: dict[str, list[float]] = {"on": [], "off": []}
    worked: dict[str, list[float]] = {"on": [], "off": []}
    speeds: dict[str, list[float]] = {"on": [], "off": []}
    for _ in range(_ROUNDS):
        for cell in opened:
            seconds, processor, speed = _open_and_ask(config, version, cell)
            opened[cell].append(seconds)
            worked[cell].append(processor)
            speeds[cell].append(speed)
    with_cell, without = median(opened["on"]) * 1000, median(opened["off"]) * 1000
    row(
        "cold open in a cell: ms more than without",
        with_cell - without,
        50,
        False,
        f"{with_cell:.0f}, {without:.0f} ms",
    )
    with_cell, without = median(worked["on"]) * 1000, median(worked["off"]) * 1000
    told = f"{with_cell:.0f}, {without:.0f} ms"  # other programs lengthen it less than the clock's time
    row("the same in processor time: ms more than without", with_cell - without, 50, False, told)
    with_cell, without = median(speeds["on"]), median(speeds["off"])
    told = f"{with_cell:.0f}, {without:.0f} tokens/s"
    row("decode in a cell / without", with_cell / without, 0.97, True, told)


def _open_and_ask(config: Settings, version: Version, cell: str) -> tuple[float, float, float]:
    """Seconds from the click to a loaded model, with a spare process that waits; its processor's; tokens per second."""
    before = {name: value for name, value in os.environ.items() if name == "PHI3_CELL"}
    os.environ["PHI3_CELL"] = cell  # the process reads it when it starts
    try:
        with closing(Pool(config, spare=True)) as pool:
            pool.warm()
            time.sleep(_IMPORTED)
            (spare,) = psutil.Process().children()
            started, before_it = time.monotonic(), _processor(spare)
            server = pool.open(version)
            while not server.status().open:
                time.sleep(0.002)
            took, processor = time.monotonic() - started, _processor(spare) - before_it
            return took, processor, ask(client(server.url, server.key), version.ref, STORY, _TOKENS).speed
    finally:
        os.environ.pop("PHI3_CELL")
        os.environ |= before


def _processor(process: psutil.Process) -> float:
    """Seconds that its threads have computed."""
    times = process.cpu_times()
    return float(times.user + times.system)
