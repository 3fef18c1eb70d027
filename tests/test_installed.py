"""The versions of installed packages that go by several names."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version

import pytest

from phi3core import installed


def test_the_build_of_onnxruntime_genai_for_cuda_counts_as_onnxruntime_genai(monkeypatch: pytest.MonkeyPatch) -> None:
    there = {"onnxruntime-genai-cuda": "0.18.0"}

    def only_cuda(name: str) -> str:
        if name not in there:
            raise PackageNotFoundError(name)
        return there[name]

    assert installed.genai_version() == version("onnxruntime-genai")
    monkeypatch.setattr(installed, "version", only_cuda)
    assert installed.genai_version() == "0.18.0"
    there.clear()
    with pytest.raises(PackageNotFoundError):
        installed.genai_version()
