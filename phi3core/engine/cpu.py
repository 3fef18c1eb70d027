"""This machine's CPU: its name, with how many threads it computes, and in which precision.

Imports no PyTorch: the app estimates a model's memory by it.
"""

from __future__ import annotations

import os
import platform
import subprocess
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


def cpu_name() -> str:
    """The CPU's model, such as ``AMD EPYC 9R14``; its architecture where the system does not tell more."""
    if sys.platform == "darwin":
        told = subprocess.run(["sysctl", "-n", "machdep.cpu.brand_string"], capture_output=True, text=True).stdout
        return told.strip() or platform.machine()
    named = (value for name, value in _cpuinfo(Path("/proc/cpuinfo")) if name == "model name")
    return next(named, "") or platform.processor() or platform.machine()


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
    return {flag for name, value in _cpuinfo(cpuinfo) if name in ("flags", "Features") for flag in value.split()}


def _cpuinfo(path: Path) -> list[tuple[str, str]]:
    """Linux's names and values, of each core one after the other; none on other systems."""
    try:
        lines = path.read_text().splitlines()
    except OSError:
        return []
    named = (line.split(":", 1) for line in lines if ":" in line)
    return [(name.strip(), value.strip()) for name, value in named]
