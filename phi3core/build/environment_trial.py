"""Loads a logged model by MLflow alone and prints its answer: ``python -I environment_trial.py FOLDER REQUEST CELL``.

Run by `declared_environment` in an environment that has nothing of this project. So it imports nothing of it but the
cell, which needs Python alone.
"""

import json
import platform
import sys
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any


def main(folder: str, request: str, cell: str) -> None:
    if cell:
        _enter(json.loads(cell))
    import mlflow

    if find_spec("torch"):
        import torch

        torch.manual_seed(1)  # the same draw in both environments
    asked = json.loads(request)
    answer = mlflow.pyfunc.load_model(folder).predict(asked["input"], params=asked["params"])
    first = answer[0] if not isinstance(answer, str) else answer
    if isinstance(first, dict):
        first = first["choices"][0]["message"]["content"]
    found = {name: version(name) for name in asked["packages"]}
    print(json.dumps({"answer": str(first), "python": platform.python_version(), "packages": found}))


def _enter(told: dict[str, Any]) -> None:
    """Shut this process in. Where this project lies is no longer searched for packages afterwards."""
    sys.path.insert(0, str(Path(__file__).parents[2]))
    from phi3core.cell.cell import Cell, enter

    del sys.path[0]
    enter(Cell(**told | {"reads": tuple(map(Path, told["reads"])), "writes": Path(told["writes"])}))


if __name__ == "__main__":
    main(*sys.argv[1:4])
