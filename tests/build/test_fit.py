"""What a wrapper makes of a model, by its configuration alone."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from phi3core.build.fit import check_fit, converter_architectures
from phi3core.errors import BadInput


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "config.json").write_text(json.dumps({"architectures": ["Phi3ForCausalLM"]}))
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({"chat_template": "x"}))
    return tmp_path


def change(folder: Path, **fields: object) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **fields}))


@pytest.mark.parametrize(
    ("wrapper", "asked", "made"),
    [("onnx", "prompt", "prompt"), ("onnx", "chat", "chat"), ("transformers", "prompt", "chat")],
)
def test_a_model_with_a_chat_template_has_the_signature_that_its_wrapper_gives(
    folder: Path, wrapper: str, asked: str, made: str
) -> None:
    assert check_fit(folder, "transformers", wrapper, asked) == made


def test_without_a_chat_template_a_version_takes_prompts(folder: Path) -> None:
    (folder / "tokenizer_config.json").unlink()

    assert check_fit(folder, "transformers", "onnx", "prompt") == "prompt"
    assert check_fit(folder, "transformers", "transformers", "chat") == "prompt"
    with pytest.raises(BadInput, match="It has no chat template, .* Build it with the signature prompt"):
        check_fit(folder, "transformers", "onnx", "chat")


def test_what_the_converter_has_no_code_for_is_built_as_a_pipeline(folder: Path) -> None:
    change(folder, architectures=["GPT2LMHeadModel"])

    assert check_fit(folder, "transformers", "transformers", "chat") == "chat"
    with pytest.raises(BadInput, match=r"can't convert GPT2LMHeadModel to ONNX\. Build it with the Transformers"):
        check_fit(folder, "transformers", "onnx", "chat")


def test_quantised_weights_that_the_converter_cant_read_are_refused(folder: Path) -> None:
    change(folder, quantization_config={"quant_method": "bitsandbytes"})
    with pytest.raises(BadInput, match=r"quantised \(bitsandbytes\), and onnxruntime-genai can't convert"):
        check_fit(folder, "transformers", "onnx", "chat")

    change(folder, quantization_config={"quant_method": "gptq"})
    assert check_fit(folder, "transformers", "onnx", "chat") == "chat"


@pytest.mark.parametrize("form", ["a file", "an index"])
def test_weights_that_are_said_to_be_quantised_and_have_no_scales_are_refused(folder: Path, form: str) -> None:
    change(folder, quantization_config={"quant_method": "awq"})

    def hold(*names: str) -> None:
        if form == "a file":
            save_file({name: np.zeros(2, np.int32) for name in names}, folder / "model.safetensors")
        else:
            told = {"weight_map": dict.fromkeys(names, "model-00001-of-00002.safetensors")}
            (folder / "model.safetensors.index.json").write_text(json.dumps(told))

    hold("model.layers.0.self_attn.o_proj.weight")
    with pytest.raises(BadInput, match=r"quantised \(awq\), .* no scales .* Choose the weights that it was made from"):
        check_fit(folder, "transformers", "onnx", "chat")
    assert check_fit(folder, "transformers", "transformers", "chat") == "chat"  # Transformers itself is asked later

    hold("model.layers.0.self_attn.o_proj.qweight", "model.layers.0.self_attn.o_proj.scales")
    assert check_fit(folder, "transformers", "onnx", "chat") == "chat"


def test_the_converters_architectures_are_read_from_its_own_code() -> None:
    assert {"Phi3ForCausalLM", "LlamaForCausalLM", "Qwen2ForCausalLM"} <= converter_architectures()
    assert not {"GPT2LMHeadModel", "BloomForCausalLM", "FalconForCausalLM"} & converter_architectures()
