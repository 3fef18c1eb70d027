"""What is told of weights that can't be loaded: each kind of failure has its own reason and way out."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from safetensors.numpy import load_file, save_file

from phi3core.engine.load_failure import explain_failure
from phi3core.engine.weight_files import check_weights
from phi3core.engine.weights import open_weights
from phi3core.errors import BadInput, SourceError

HELLO = [{"role": "user", "content": "Hello"}]


def change(path: Path, **fields: object) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **fields}))


def failure(folder: Path) -> str:
    with pytest.raises(SourceError) as caught:
        open_weights(folder, "transformers")
    text = str(caught.value)
    assert text.startswith("The model can't be loaded. ")
    assert "damaged" not in text
    assert "\n" not in text
    return text


# ---------------------------------------------------------------- Transformers


@pytest.mark.parametrize(
    ("quantised", "words"),
    [
        ({"quant_method": "awq", "bits": 4, "group_size": 128}, ("(awq)", "gptqmodel", "unquantised")),
        ({"quant_method": "bitsandbytes", "load_in_4bit": True}, ("(bitsandbytes)", "unquantised")),
        ({"quant_method": "gptq", "bits": 4}, ("(gptq)", "unquantised")),
    ],
)
def test_weights_that_need_a_package_name_it(tiny: Path, quantised: dict[str, object], words: tuple[str]) -> None:
    change(tiny / "config.json", quantization_config=quantised)

    told = failure(tiny)

    assert all(word in told for word in words), told


def test_a_model_type_that_transformers_does_not_know_is_named(tiny: Path) -> None:
    change(tiny / "config.json", model_type="phi9", architectures=["Phi9ForCausalLM"])

    assert "does not know its model type “phi9”" in failure(tiny)


def test_code_in_a_repository_is_not_run(tiny: Path) -> None:
    change(tiny / "config.json", model_type="phi9", auto_map={"AutoConfig": "configuration_phi9.Phi9Config"})
    (tiny / "configuration_phi9.py").write_text("raise SystemExit('it was run')")

    assert "Python code in its own repository" in failure(tiny)


def test_weights_of_another_model_are_not_filled_up_with_random_numbers(tiny: Path) -> None:
    weights = load_file(tiny / "model.safetensors")
    del weights["model.norm.weight"]
    save_file(weights, tiny / "model.safetensors", {"format": "pt"})

    assert "lack 1 of the tensors that its config.json calls for, model.norm.weight among them" in failure(tiny)


def test_weights_of_another_shape_are_said_not_to_belong_to_the_configuration(tiny: Path) -> None:
    change(tiny / "config.json", intermediate_size=32)

    assert "do not belong together" in failure(tiny)


def test_what_is_of_no_known_kind_is_told_as_the_library_told_it(tiny: Path) -> None:
    told = explain_failure(tiny, "transformers", tiny, RuntimeError("the moon is full\nand so on"))

    assert "says: the moon is full. Try the other wrapper" in told


def test_memory_that_ran_out_is_not_the_files_fault(tiny: Path) -> None:
    assert explain_failure(tiny, "onnx", tiny, RuntimeError("std::bad_alloc")).startswith("Memory ran out")


# ---------------------------------------------------------------- ONNX


@pytest.fixture
def onnx(tiny_onnx: Path, tmp_path: Path) -> Path:
    return shutil.copytree(tiny_onnx, tmp_path / "onnx")


def _provider(name: str) -> Callable[[dict[str, Any]], None]:
    return lambda model: model["decoder"]["session_options"].update(provider_options=[{name: {}}])


def _pipeline(model: dict[str, Any]) -> None:
    name = model["decoder"].pop("filename")
    model["type"], model["decoder"]["pipeline"] = "decoder-pipeline", [{"context": {"filename": name}}]


@pytest.mark.parametrize(
    ("edit", "words"),
    [
        (_provider("cuda"), ("was made for NVIDIA GPUs (CUDA)", "variant for CPUs")),
        (_provider("dml"), ("was made for GPUs under Windows (DirectML)", "variant for CPUs")),
        (_provider("QNN"), ("was made for Qualcomm NPUs (QNN)", "variant for CPUs")),
        (_provider("OpenVINO"), ("was made for Intel devices (OpenVINO)", "variant for CPUs")),
        (_provider("NewChip"), ("was made for devices of the provider “newchip”", "variant for CPUs")),
        (_pipeline, ("was made for an NPU", "variant for CPUs")),
        (lambda model: model.update(type="phi9"), ("does not know its model type “phi9”", "Transformers wrapper")),
        (
            lambda model: model.update(type="phi3v", vision={"filename": "v"}),
            ("a model of several parts", "text-generation model"),
        ),
    ],
)
def test_what_cant_run_here_is_refused_with_its_reason(
    onnx: Path, edit: Callable[[dict[str, Any]], None], words: tuple[str]
) -> None:
    config = json.loads((onnx / "genai_config.json").read_text())
    edit(config["model"])
    (onnx / "genai_config.json").write_text(json.dumps(config))

    for attempt in (lambda: check_weights(onnx), lambda: open_weights(onnx, "onnx")):
        with pytest.raises(SourceError) as caught:
            attempt()
        assert all(word in str(caught.value) for word in words), caught.value
        assert "damaged" not in str(caught.value)


@pytest.mark.parametrize("name", ["CPU", "CPUExecutionProvider"])
def test_a_model_that_names_the_cpu_is_taken(onnx: Path, name: str) -> None:
    config = json.loads((onnx / "genai_config.json").read_text())
    _provider(name)(config["model"])
    (onnx / "genai_config.json").write_text(json.dumps(config))

    assert check_weights(onnx) == "onnx"


def test_a_templates_refusal_is_told_without_the_templates_text(onnx: Path) -> None:
    (onnx / "chat_template.jinja").write_text("{{ raise_exception('Roles must alternate') }}\n{{ secret }}")

    with pytest.raises(BadInput) as caught:
        open_weights(onnx, "onnx").prepare(HELLO)

    assert str(caught.value) == "The model's chat template does not accept these messages: Roles must alternate."


def test_an_onnx_model_without_a_template_takes_one_text_as_it_is(onnx: Path) -> None:
    (onnx / "chat_template.jinja").unlink()

    assert open_weights(onnx, "onnx").prepare(HELLO) == "Hello"
