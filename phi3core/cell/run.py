"""Runs a program of Python in a cell: ``python -m phi3core.cell.run CELL MODULE ARGUMENTS``. `command` writes it."""

from __future__ import annotations

import json
import runpy
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from phi3core.errors import ServerError

from .cell import Cell, enter, why_none


def command(cell: Cell, module: str, arguments: Sequence[str]) -> list[str]:
    """The command line that runs a module in a cell, or without one where there is none here."""
    shut_in = "" if why_none() else json.dumps(asdict(cell), default=str)
    return [sys.executable, "-m", "phi3core.cell.run", shut_in, module, *arguments]


def main() -> None:
    """Enter the cell, then be that module."""
    shut_in, module = sys.argv[1:3]
    sys.argv[:] = [module, *sys.argv[3:]]
    if shut_in:
        told = json.loads(shut_in)
        paths = {"reads": tuple(map(Path, told["reads"])), "writes": Path(told["writes"])}
        enter(Cell(**told | paths))
    runpy.run_module(module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    try:
        main()
    except ServerError as error:
        sys.exit(str(error))
