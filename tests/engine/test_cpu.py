"""What the CPU is called, and how many threads compute."""

from __future__ import annotations

import pytest

from phi3core.engine import cpu
from phi3core.engine.cpu import cpu_name, thread_count


@pytest.fixture
def four_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("psutil.cpu_count", lambda logical: 8 if logical else 4)
    monkeypatch.setattr("os.sched_getaffinity", lambda _: set(range(8)), raising=False)
    monkeypatch.delenv("OMP_NUM_THREADS")


@pytest.mark.usefixtures("four_cores")
@pytest.mark.parametrize(("wanted", "threads"), [("", 4), ("2", 2), ("16", 4), ("0", 1), ("2,1", 4), ("many", 4)])
def test_a_thread_for_each_core_computes_and_no_more_than_the_operator_wants(
    monkeypatch: pytest.MonkeyPatch, wanted: str, threads: int
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", wanted)

    assert thread_count() == threads


@pytest.mark.usefixtures("four_cores")
def test_a_core_that_the_process_may_not_use_computes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda _: {3}, raising=False)

    assert thread_count() == 1


def test_the_cpu_has_the_name_that_linux_tells_else_its_architectures(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.platform", "linux")
    monkeypatch.setattr("platform.processor", lambda: "")
    monkeypatch.setattr("platform.machine", lambda: "aarch64")
    for told, name in (([("processor", "0"), ("model name", "AMD EPYC 9R14")], "AMD EPYC 9R14"), ([], "aarch64")):
        monkeypatch.setattr(cpu, "_cpuinfo", lambda _, told=told: told)
        assert cpu_name() == name
