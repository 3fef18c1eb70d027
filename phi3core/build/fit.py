"""What a wrapper makes of a model, and why it can't where it can't. Reads configurations and headers, never weights."""

from __future__ import annotations

import re
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

from phi3core.engine.json_file import read_config
from phi3core.engine.weight_files import has_template
from phi3core.engine.weight_headers import tensor_names
from phi3core.errors import BadInput
from phi3core.installed import genai_version

# The quantised weights that onnxruntime-genai's builder reads by itself (its loaders/quant_model.py).
_QUANTISED = {"awq", "gptq", "olive", "quark", "modelopt", "compressed-tensors", "quant_auto"}

NO_TEMPLATE = (
    "It has no chat template, and the signature messages → chat completion needs one. Build it with the "
    "signature prompt → string, or choose the model's variant for chats (often named …-instruct or …-chat)."
)


def check_fit(folder: Path, format: str, wrapper: str, signature: str) -> Literal["prompt", "chat"]:
    """The signature that a version of this model would have.

    Args:
        folder: of the model, at least its configuration and its tokenizer's.
        format: ``transformers`` or ``onnx``, what its weights are.
        wrapper: ``transformers`` or ``onnx``, what is asked for.
        signature: what is asked for; a pipeline takes what its model can take, whatever is asked for.

    Raises:
        BadInput: the wrapper can't take this model; the sentence says what to do instead.
    """
    if wrapper == "transformers" and format == "onnx":
        raise BadInput(
            "It holds ONNX weights, which a Transformers pipeline can't run. Build it with the onnx wrapper, or choose "
            "the repository that holds safetensors."
        )
    if wrapper == "onnx" and format == "transformers":
        _check_convertible(folder)
    templated = has_template(folder)
    if wrapper == "transformers":
        return "chat" if templated else "prompt"
    if signature == "chat" and not templated:
        raise BadInput(NO_TEMPLATE)
    return "chat" if signature == "chat" else "prompt"


def _check_convertible(folder: Path) -> None:
    config = read_config(folder / "config.json")
    named = str((config.get("architectures") or [""])[0])
    quantised = (config.get("quantization_config") or {}).get("quant_method")
    known = converter_architectures()
    if known and named not in known:
        raise BadInput(
            f"onnxruntime-genai {genai_version()} can't convert {named or 'it'} to ONNX. Build it with "
            "the Transformers wrapper, or choose an ONNX version of it that others have made."
        )
    if quantised and (why := _why_unreadable(folder, quantised)):
        raise BadInput(
            f"Its weights are quantised ({quantised}), and onnxruntime-genai can't convert these to ONNX{why}. Choose "
            "the weights that it was made from, unquantised: the conversion rounds them itself."
        )


def _why_unreadable(folder: Path, quantised: str) -> str:
    """What keeps the converter from reading quantised weights, to go on a sentence with; empty where nothing does."""
    if quantised not in _QUANTISED:
        return " as they are"
    names = tensor_names(folder)
    if names and not any(re.search(r"\.(weight_)?scales?$", name) for name in names):
        return ": its files hold no scales of such weights, which config.json promises"
    return ""


@cache
def converter_architectures() -> frozenset[str]:
    """The architectures that onnxruntime-genai's builder converts.

    It has no list of them: they stand in the conditions of its `create_model`, and it is not imported for them because
    it brings PyTorch. None where they can't be found there: then the converter itself has to say it.
    """
    found = find_spec("onnxruntime_genai.models.builder")
    source = Path(found.origin).read_text() if found and found.origin else ""
    return frozenset(re.findall(r'config\.architectures\[0\] == "(\w+)"', source))
