"""Can onnxruntime-genai as it is here run the model that a genai_config.json describes? Reads that file alone."""

from __future__ import annotations

import re
import shutil
import tempfile
from pathlib import Path
from typing import Any

from phi3core.errors import SourceError
from phi3core.installed import genai_version

from .json_file import read_config

# What onnxruntime-genai calls the devices that an ONNX model can be made for.
_DEVICES = {
    "cuda": "NVIDIA GPUs (CUDA)",
    "nvtensorrtrtx": "NVIDIA RTX GPUs (TensorRT)",
    "dml": "GPUs under Windows (DirectML)",
    "qnn": "Qualcomm NPUs (QNN)",
    "openvino": "Intel devices (OpenVINO)",
    "vitisai": "AMD NPUs (Vitis AI)",
    "ryzenai": "AMD NPUs (Ryzen AI)",
    "rocm": "AMD GPUs (ROCm)",
    "webgpu": "GPUs (WebGPU)",
}
_OTHER_VARIANT = (
    "Choose the variant for CPUs (a folder named cpu…), or the original weights, which are converted for the CPU."
)


def check_onnx_config(folder: Path) -> None:
    """Raise SourceError unless genai_config.json names one graph of a text model that can run on this machine."""
    path = folder / "genai_config.json"
    config = read_config(path)
    model = config.get("model") or {}
    decoder = model.get("decoder") if isinstance(model, dict) else None
    if isinstance(decoder, dict) and decoder.get("pipeline"):
        raise SourceError(
            f"{folder} was made for an NPU: its model is split into {len(decoder['pipeline'])} graphs, and this app "
            f"runs models of one graph. {_OTHER_VARIANT}"
        )
    if not isinstance(decoder, dict) or not isinstance(decoder.get("filename"), str):
        raise SourceError(f"{path} names no model.decoder.filename. Copy the model again.")
    if others := [name for name in ("vision", "speech", "encoder", "embedding") if model.get(name)]:
        raise SourceError(
            f"{folder} is a model of several parts ({model.get('type')}, with {' and '.join(others)}), such as those "
            "that read images or sound, and this app runs models that take text alone. Choose a text-generation model."
        )
    if model.get("type") and (refusal := _ask_runtime(path)):
        raise SourceError(_explain(folder, decoder, refusal))


def explain_onnx(text: str) -> str:
    """The sentence for what onnxruntime-genai said of a model; empty for what is of no known kind."""
    library = f"onnxruntime-genai {genai_version()}"
    if found := re.search(r"Unsupported model_type in config\.json: (\S+)", text):
        return (
            f"{library} does not know its model type “{found[1]}”. Build the original weights with the Transformers "
            "wrapper, or choose a model of a type that it knows."
        )
    if found := re.search(r"Load model from (.+?) failed:.*File doesn't exist", text):
        return f"The weight file {found[1]} is missing. Copy or download the model again."
    if re.search(r"not a registered function|NOT_IMPLEMENTED|IR version|opset", text):
        return (
            f"Its graph needs what {library} has not got here: {text.splitlines()[0][:300].rstrip('. ')}. It was "
            "made for another device or version: choose the original weights, which are converted here."
        )
    return ""


def _ask_runtime(path: Path) -> str:
    """What onnxruntime-genai refuses of a configuration: it looks at type and device first, then for the graph."""
    import onnxruntime_genai as og

    from . import genai

    with tempfile.TemporaryDirectory() as alone:
        shutil.copy(path, alone)
        try:
            genai.Model(Path(alone), cuda=og.is_cuda_available())  # as our runtime loads it
        except RuntimeError as error:
            return "" if "File doesn't exist" in str(error) else str(error).strip()
    return ""


def _explain(folder: Path, decoder: dict[str, Any], refusal: str) -> str:
    if known := explain_onnx(refusal):
        return f"{folder} can't run here. {known}"
    options = (decoder.get("session_options") or {}).get("provider_options") or []
    names = [str(name).lower().removesuffix("executionprovider") for entry in options for name in entry]
    for name in names:
        if name not in ("", "cpu"):
            device = _DEVICES.get(name, f"devices of the provider “{name}”")
            return (
                f"{folder} was made for {device}, and onnxruntime-genai as it is installed here runs none of these. "
                f"{_OTHER_VARIANT}"
            )
    return f"onnxruntime-genai does not take {folder / 'genai_config.json'}: {refusal.splitlines()[0][:300]}"
