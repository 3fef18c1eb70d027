"""What is told of a source before it is built."""

from __future__ import annotations

import json
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from phi3core.build import inspection
from phi3core.build.inspection import Inspection, Outlook, describe, inspect_apart
from phi3core.build.source_inspector import inspect
from phi3core.errors import BadInput, BaseNeeded, Cancelled, SourceError
from phi3core.settings import Settings
from tests.build.sources.test_source import quiet
from tests.cli.commands import refused, run
from tests.support.fakes import until
from tests.support.hub import SHA, serving


def outlook(found: Inspection, wrapper: str) -> Outlook:
    return next(one for one in found.outlooks if one.wrapper == wrapper)


def quantise(folder: Path, **told: object) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "quantization_config": told}))


@pytest.fixture
def adapter(tmp_path: Path) -> Path:
    """An adapter that names no base; as much of it as is looked at."""
    folder = tmp_path / "lora"
    folder.mkdir()
    save_file({"x.lora_A.weight": np.zeros((4, 64), np.float32)}, folder / "adapter_model.safetensors")
    (folder / "adapter_config.json").write_text(json.dumps({"peft_type": "LORA", "task_type": "CAUSAL_LM"}))
    return folder


def test_a_model_is_described_without_its_weights_being_loaded(tiny: Path, settings: Settings) -> None:
    found = inspect(str(tiny), "", settings, quiet)

    assert (found.format, found.architecture) == ("transformers", "Phi3ForCausalLM")
    assert (found.context, found.licence, found.template) == (128, "mit", True)
    assert found.parameters
    assert found.parameters * 4 < found.size < found.parameters * 4 + 10_000
    assert "Converted, at int4" in outlook(found, "onnx").makes
    assert "takes chat messages" in outlook(found, "transformers").makes
    assert found.refusal("onnx", "chat") == found.refusal("transformers", "chat") == ""
    assert found.disk_free > outlook(found, "onnx").disk > 0
    assert "million parameters" in describe(found)


def test_without_a_chat_template_the_signature_for_chats_is_refused(tiny: Path, settings: Settings) -> None:
    (tiny / "chat_template.jinja").unlink()

    found = inspect(str(tiny), "", settings, quiet)

    assert not found.template
    assert "takes a prompt" in outlook(found, "onnx").makes
    assert found.refusal("onnx", "prompt") == found.refusal("transformers", "chat") == ""
    assert "Build it with the signature prompt" in found.refusal("onnx", "chat")


def test_each_wrapper_says_why_it_cant(tiny: Path, settings: Settings) -> None:
    quantise(tiny, quant_method="bitsandbytes", load_in_4bit=True)

    found = inspect(str(tiny), "", settings, quiet)

    assert "onnxruntime-genai can't convert" in found.refusal("onnx", "prompt")
    assert "Transformers can't read these here" in found.refusal("transformers", "chat")
    assert found.parameters is None  # what is stored is packed


def test_a_checkpoint_for_gpus_is_refused_with_the_weights_to_take_instead(tiny: Path, settings: Settings) -> None:
    quantise(tiny, quant_method="awq", bits=4, group_size=128, version="gemm", zero_point=True)

    found = inspect(str(tiny), "", settings, quiet)

    for wrapper in ("onnx", "transformers"):
        assert "quantised (awq)" in found.refusal(wrapper, "prompt")
        assert "Choose the weights that it was made from" in found.refusal(wrapper, "prompt")


def test_published_onnx_stays_as_it_is(tiny_onnx: Path, settings: Settings) -> None:
    found = inspect(str(tiny_onnx), "", settings, quiet)

    assert (found.format, found.architecture, found.context) == ("onnx", "phi3", 128)
    assert "as it was published" in outlook(found, "onnx").makes
    assert "holds ONNX weights" in found.refusal("transformers", "chat")


def test_an_onnx_model_without_its_tokenizer_json_is_refused(
    tiny_onnx: Path, tmp_path: Path, settings: Settings
) -> None:
    folder = shutil.copytree(tiny_onnx, tmp_path / "onnx")
    (folder / "tokenizer.json").rename(folder / "tokenizer.model")

    with pytest.raises(SourceError, match=r"tokenizer\.json is missing\..* Add the model's tokenizer\.json"):
        inspect(str(folder), "", settings, quiet)


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("notes.txt", "", "is not a model"),
        ("model.gguf", "GGUF", "for llama.cpp and can't be built here. Choose"),
        ("config.json", "{", "can't be read as JSON"),
        ("config.json", '{"architectures": 3}', "makes no sense"),
        ("config.json", '{"architectures": ["BertModel"]}', "no causal language model"),
    ],
)
def test_of_what_is_no_model_nothing_can_be_built(
    tmp_path: Path, settings: Settings, name: str, content: str, told: str
) -> None:
    (tmp_path / name).write_text(content)

    with pytest.raises(SourceError) as error:
        inspect(str(tmp_path), "", settings, quiet)
    assert told in str(error.value)


def test_of_an_adapter_its_base_is_described(adapter: Path, tiny: Path, settings: Settings) -> None:
    found = inspect(str(adapter), str(tiny), settings, quiet)

    assert (found.source, found.base, found.architecture) == (str(adapter), str(tiny), "Phi3ForCausalLM")
    alone = inspect(str(tiny), "", settings, quiet)
    assert outlook(found, "onnx").disk == outlook(alone, "onnx").disk + alone.size  # both are merged first
    assert f"an adapter of {tiny}" in describe(found)


@pytest.mark.parametrize(
    ("base", "told"),
    [("", "does not say which model"), ("nowhere", "can't be had. There is no folder"), ("lora", "its own base")],
)
def test_a_base_that_cant_be_had_is_asked_for(
    adapter: Path, settings: Settings, base: str, told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(adapter.parent)

    with pytest.raises(BaseNeeded, match=told):
        inspect(str(adapter), base, settings, quiet)


def test_adapters_that_name_each_other_are_refused(adapter: Path, tmp_path: Path, settings: Settings) -> None:
    other = shutil.copytree(adapter, tmp_path / "other")
    for folder, base in ((adapter, other), (other, adapter)):
        told = {"peft_type": "LORA", "base_model_name_or_path": str(base)}
        (folder / "adapter_config.json").write_text(json.dumps(told))

    with pytest.raises(BaseNeeded, match=f"{adapter} and {other} are adapters that name each other") as caught:
        inspect(str(adapter), "", settings, quiet)
    assert str(caught.value).count("Name the base") == 1


def test_a_base_of_what_is_no_adapter_is_refused(tiny: Path, settings: Settings) -> None:
    with pytest.raises(BadInput, match="is a model and no adapter"):
        inspect(str(tiny), str(tiny), settings, quiet)


def test_a_repository_is_looked_at_without_its_weights(
    tiny_onnx: Path, tmp_path: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(tiny_onnx, tmp_path / "repo" / "cpu-int4")
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    with serving({"acme/tiny-onnx": tmp_path / "repo"}) as url:
        monkeypatch.setenv("HF_ENDPOINT", url)
        found = inspect_apart("hf:acme/tiny-onnx/cpu-int4")
        with pytest.raises(SourceError, match=r"in folders\. Choose one .*: hf:acme/tiny-onnx/cpu-int4\."):
            inspect_apart("hf:acme/tiny-onnx")

    assert (found.architecture, found.revision, found.licence) == ("phi3", SHA, "mit")
    assert found.size > 100_000
    assert outlook(found, "onnx").disk == 3 * found.size  # the download, too
    assert not list((tmp_path / "hf").rglob("*.onnx*"))


def test_what_a_process_of_its_own_refuses_is_refused_here(adapter: Path, settings: Settings) -> None:
    with pytest.raises(BaseNeeded, match="does not say which model"):
        inspect_apart(str(adapter))
    with pytest.raises(SourceError, match="did not answer within 0 seconds"):
        inspect_apart(str(adapter), limit=0)


def test_a_look_that_is_stopped_leaves_no_process_behind(adapter: Path, settings: Settings) -> None:
    source = str(adapter)
    with ThreadPoolExecutor(1) as other:
        looking = other.submit(inspect_apart, source)
        until(lambda: bool(inspection._looking[source, ""]))
        (process,) = inspection._looking[source, ""]
        inspection.stop_looking(source)
        with pytest.raises(Cancelled, match="it was stopped"):
            looking.result(20)
    assert process.returncode is not None
    inspection.stop_looking(source)  # again is harmless


def test_the_command_says_the_same_and_fails_where_nothing_can_be_built(
    tiny: Path, tmp_path: Path, settings: Settings
) -> None:
    told = run("inspect", str(tiny), "--json")
    assert told.exit_code == 0
    assert json.loads(told.stdout)["architecture"] == "Phi3ForCausalLM"

    quantise(tiny, quant_method="bitsandbytes", load_in_4bit=True)
    told = run("inspect", str(tiny))
    assert told.exit_code == 1
    assert "onnx: Its weights are quantised" in told.stdout
    assert "There is no folder" in refused("inspect", str(tmp_path / "nowhere"))
