"""What this machine's CPU computes with: how many threads, and in which precision.

Imports no PyTorch: the app estimates a model's memory by it.
"""

from __future__ import annotations

import os
import platform
import sys
from functools import cache
from pathlib import Path

import psutil


def thread_count() -> int:
    """How many threads compute: one for each physical core that this process may use, at most OMP_NUM_THREADS.

    PyTorch obeys that variable by itself, onnxruntime does not: where one machine runs several models, the operator
    sets one number for both.
    """
    cores = psutil.cpu_count(logical=False) or 1
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else cores
    wanted = os.environ.get("OMP_NUM_THREADS", "")
    return max(1, min(cores, allowed, int(wanted) if wanted.isdecimal() else cores))


def cpu_dtype(saved: str) -> str:
    """What weights saved as ``float16`` or ``bfloat16`` are computed in on this machine's CPU; others as they are.

    bfloat16 where the CPU has instructions for it; emulated, 16 bits are several times slower than 32.
    """
    if saved not in ("float16", "bfloat16"):
        return saved
    return "bfloat16" if has_bfloat16() else "float32"


@cache
def has_bfloat16() -> bool:
    """Whether the CPU has instructions that multiply bfloat16."""
    if sys.platform == "darwin":
        return platform.machine() == "arm64"
    return bool({"avx512_bf16", "amx_bf16", "bf16"} & _cpu_flags(Path("/proc/cpuinfo")))


def _cpu_flags(cpuinfo: Path) -> set[str]:
    try:
        lines = cpuinfo.read_text().splitlines()
    except OSError:
        return set()
    named = (line.split(":", 1) for line in lines if ":" in line)
    return {flag for name, value in named if name.strip() in ("flags", "Features") for flag in value.split()}
