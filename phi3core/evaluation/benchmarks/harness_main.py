"""The harness as a program that ends with the one that started it: ``python -I harness_main.py ARGUMENTS``.

Run in the harness's own environment, which has nothing of this project. So it imports nothing of it but what needs
Python alone.
"""

import os
import runpy
import sys
from pathlib import Path


def main() -> None:
    sys.path.insert(0, str(Path(__file__).parents[3]))
    from phi3core.parent_process import on_parent_exit

    del sys.path[0]
    on_parent_exit(lambda: os._exit(1))
    runpy.run_module("lm_eval", run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
