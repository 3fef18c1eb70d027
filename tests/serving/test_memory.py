"""How much memory a version will take, and how much there is."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import psutil
import pytest

from phi3core.engine import cpu
from phi3core.serving import memory

MB = 1_000_000
PHI3 = {"num_hidden_layers": 32, "num_key_value_heads": 32, "head_size": 96}


def onnx(folder: Path, context: int, **decoder: Any) -> Path:
    inner = folder / "artifacts" / "phi3-mini-onnx"
    inner.mkdir(parents=True)
    config = {"model": {"context_length": context, "decoder": {**PHI3, **decoder}}}
    (inner / "genai_config.json").write_text(json.dumps(config))
    return folder


def test_an_onnx_version_needs_its_weights_its_libraries_and_a_conversation(tmp_path: Path) -> None:
    need = memory.needed(onnx(tmp_path, 4096), 2700 * MB, "onnx")

    assert need == 2700 * MB + 250 * MB + 2048 * 2 * 4 * 32 * 32 * 96


def test_a_short_context_makes_a_small_conversation(tmp_path: Path) -> None:
    assert memory.needed(onnx(tmp_path, 128), 0, "onnx") == 250 * MB + 128 * 2 * 4 * 32 * 32 * 96


@pytest.mark.parametrize(
    ("kind", "native", "width", "weights"),
    [("float32", False, 4, 500), ("bfloat16", True, 2, 500), ("bfloat16", False, 4, 1000), ("float16", False, 4, 1000)],
)
def test_a_transformers_version_takes_what_this_machine_computes_it_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, native: bool, width: int, weights: int
) -> None:
    """16 bits become 32 where the CPU does not multiply them; conversations are kept as the weights are."""
    monkeypatch.setattr(cpu, "has_bfloat16", lambda: native)
    monkeypatch.setattr(memory, "_has_gpu", lambda: False)
    config = {"num_hidden_layers": 30, "num_attention_heads": 9, "num_key_value_heads": 3, "hidden_size": 576}
    (tmp_path / "model").mkdir()
    text = json.dumps({**config, "max_position_embeddings": 8192, "dtype": kind})
    (tmp_path / "model" / "config.json").write_text(text)

    need = memory.needed(tmp_path, 500 * MB, "transformers")

    assert need == (weights + 600) * MB + 2048 * 2 * width * 30 * 3 * 64


@pytest.mark.parametrize(
    ("cpuinfo", "native"),
    [
        ("processor : 0\nflags\t\t: fpu avx512f avx512_bf16 amx_tile\n", True),
        ("processor : 0\nFeatures\t: fp asimd bf16\n", True),
        ("processor : 0\nmodel name : bf16\nflags\t\t: fpu avx2\n", False),
    ],
)
def test_a_cpu_says_whether_it_multiplies_16_bits(tmp_path: Path, cpuinfo: str, native: bool) -> None:
    (tmp_path / "cpuinfo").write_text(cpuinfo)
    assert bool(cpu._cpu_flags(tmp_path / "cpuinfo") & {"avx512_bf16", "amx_bf16", "bf16"}) == native
    assert cpu._cpu_flags(tmp_path / "none") == set()


@pytest.mark.parametrize("wrapper", ["onnx", "transformers", ""])
def test_what_the_files_do_not_tell_is_left_out(tmp_path: Path, wrapper: str) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "config.json").write_text("{")

    assert memory.needed(tmp_path, 100 * MB, wrapper) == memory.needed(None, 100 * MB, wrapper)


def test_sizes_are_written_as_people_do() -> None:
    assert [memory.format_size(size) for size in (7_200_000_000, 86_000_000, 0)] == ["7.2 GB", "86 MB", "0 MB"]
    assert memory.format_size(2.3e9, 7.2e9) == "2.3 of 7.2 GB"
    assert memory.format_size(12e6, 86e6) == "12 of 86 MB"
    assert memory.format_size(12e6, 7.2e9) == "0.0 of 7.2 GB"


# ---------------------------------------------------------------- limits


def group(root: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text + "\n")


def test_a_containers_limit_counts_without_what_the_system_can_take_back(tmp_path: Path) -> None:
    files = {"memory.max": "4000", "memory.current": "1500", "memory.stat": "anon 900\ninactive_file 500"}
    group(tmp_path, {"proc/self/cgroup": "0::/"} | {f"sys/fs/cgroup/{name}": text for name, text in files.items()})

    assert list(memory._left_in_groups(tmp_path)) == [3000]


def test_every_group_around_this_process_counts(tmp_path: Path) -> None:
    group(tmp_path, {"proc/self/cgroup": "0::/user/app"})
    for path, limit in (("user", "9000"), ("user/app", "max")):
        folder = tmp_path / "sys/fs/cgroup" / path
        group(folder, {"memory.max": limit, "memory.current": "1000", "memory.stat": "inactive_file 0"})

    assert list(memory._left_in_groups(tmp_path)) == [8000]


def test_limits_of_the_first_generation_count_too(tmp_path: Path) -> None:
    group(tmp_path, {"proc/self/cgroup": "5:cpu,cpuacct:/x\n4:memory:/docker/abc"})
    files = {"memory.limit_in_bytes": "6000", "memory.usage_in_bytes": "2000", "memory.stat": "total_inactive_file 100"}
    # In a container the path is the host's, and the mount shows the container's own group.
    group(tmp_path / "sys/fs/cgroup/memory", files)

    assert list(memory._left_in_groups(tmp_path)) == [4100]


def test_where_there_are_no_groups_the_machine_counts(tmp_path: Path) -> None:
    assert list(memory._left_in_groups(tmp_path)) == []
    assert 0 < memory.available() <= psutil.virtual_memory().total
