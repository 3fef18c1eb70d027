"""The versions of installed packages that go by several names."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version

_GENAI = ("onnxruntime-genai", "onnxruntime-genai-cuda")


def genai_version() -> str:
    """The version of onnxruntime-genai, whose build for CUDA is a package of its own. Raises PackageNotFoundError."""
    for name in _GENAI:
        try:
            return version(name)
        except PackageNotFoundError:
            continue
    raise PackageNotFoundError(_GENAI[0])
