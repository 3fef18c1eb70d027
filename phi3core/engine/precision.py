"""In which precision this machine computes. Imports no PyTorch: the app guesses memory by it."""

from __future__ import annotations

import platform
import sys
from functools import cache
from pathlib import Path


def on_cpu(saved: str) -> str:
    """What weights saved as ``float16`` or ``bfloat16`` are computed in on this machine's CPU; others as they are.

    bfloat16 where the CPU has instructions for it; emulated, 16 bits are several times slower than 32.
    """
    if saved not in ("float16", "bfloat16"):
        return saved
    return "bfloat16" if has_bfloat16() else "float32"


@cache
def has_bfloat16() -> bool:
    """Whether the CPU multiplies bfloat16 by itself."""
    if sys.platform == "darwin":
        return platform.machine() == "arm64"
    return bool({"avx512_bf16", "amx_bf16", "bf16"} & _flags(Path("/proc/cpuinfo")))


def _flags(cpuinfo: Path) -> set[str]:
    try:
        lines = cpuinfo.read_text().splitlines()
    except OSError:
        return set()
    named = (line.split(":", 1) for line in lines if ":" in line)
    return {flag for name, value in named if name.strip() in ("flags", "Features") for flag in value.split()}
