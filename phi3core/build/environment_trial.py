"""Loads a logged model by MLflow alone and prints its answer: ``python -I environment_trial.py FOLDER REQUEST``.

Run by `declared_environment` in an environment that has nothing of this project. So it imports nothing of it.
"""

import json
import platform
import sys
from importlib.metadata import version
from importlib.util import find_spec


def main(folder: str, request: str) -> None:
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


if __name__ == "__main__":
    main(*sys.argv[1:3])
