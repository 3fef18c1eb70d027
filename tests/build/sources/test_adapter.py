"""LoRA adapters: merged into their base, and refused where that can't be."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from phi3core.build.sources.adapter import read_base
from phi3core.build.sources.fetch import fetch_weights
from phi3core.build.sources.source import Source, Weights
from phi3core.engine.weight_files import ADAPTER
from phi3core.errors import BadInput, SourceError
from tests.build.sources.test_source import quiet

Fetch = Callable[[Path, str], Weights]


@pytest.fixture
def fetch(tmp_path: Path) -> Fetch:
    return lambda folder, base: fetch_weights(Source("folder", path=str(folder)), tmp_path / "cache", quiet, base)


def change(folder: Path, **fields: object) -> None:
    path = folder / ADAPTER
    path.write_text(json.dumps({**json.loads(path.read_text()), **fields}))


def test_an_adapter_and_its_base_make_the_model_that_peft_computes(lora: Path, tiny: Path, fetch: Fetch) -> None:
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    merged = fetch(lora, "")  # the base is the one that it names

    base: Any = AutoModelForCausalLM.from_pretrained(tiny).eval()
    tokens = torch.arange(1, 20)[None]
    with torch.inference_mode():
        plain = base(tokens).logits
        wanted = PeftModel.from_pretrained(base, str(lora))(tokens).logits
        made = AutoModelForCausalLM.from_pretrained(merged.folder)(tokens).logits
    assert (made - wanted).abs().max() < 1e-4
    assert (made - plain).abs().max() > 0.01
    assert (merged.format, merged.source, merged.licence, merged.note) == ("transformers", str(lora), "mit", "")
    assert (merged.folder / "chat_template.jinja").is_file()


def test_a_base_that_is_named_comes_before_the_adapters_own(lora: Path, tiny: Path, fetch: Fetch) -> None:
    change(lora, base_model_name_or_path="/gone/phi3")

    merged = fetch(lora, str(tiny))

    assert merged.base == str(tiny)
    assert len(merged.base_revision) == 12


@pytest.mark.parametrize(
    ("named", "source"),
    [
        ({"base_model_name_or_path": "acme/phi3"}, "hf:acme/phi3"),
        ({"base_model_name_or_path": "acme/phi3", "revision": "refs/pr/1"}, "hf:acme/phi3@refs%2Fpr%2F1"),
    ],
)
def test_the_base_that_an_adapter_names_is_a_source(lora: Path, named: dict[str, object], source: str) -> None:
    change(lora, **named)

    assert read_base(lora) == source


@pytest.mark.parametrize(
    ("named", "told"), [("", "does not say which model"), ("/gone/phi3", "made for /gone/phi3, which is not on this")]
)
def test_a_base_that_is_not_here_is_asked_for(lora: Path, fetch: Fetch, named: str, told: str) -> None:
    change(lora, base_model_name_or_path=named)

    with pytest.raises(BadInput, match=f"{told}.* --base"):
        fetch(lora, "")


def test_an_adapter_of_another_model_is_refused(lora: Path, tiny: Path, fetch: Fetch) -> None:
    from safetensors.numpy import load_file, save_file

    path = lora / "adapter_model.safetensors"
    save_file({name.replace("layers.1", "layers.9"): tensor for name, tensor in load_file(path).items()}, path)

    with pytest.raises(SourceError, match="do not belong together: 4 of the adapter's tensors"):
        fetch(lora, "")


def test_an_adapter_that_is_not_whole_is_merged_and_says_so(lora: Path, fetch: Fetch) -> None:
    from safetensors.numpy import load_file, save_file

    path = lora / "adapter_model.safetensors"
    save_file({name: tensor for name, tensor in load_file(path).items() if "layers.1" not in name}, path)

    assert fetch(lora, "").note.startswith("4 of the 8 tensors that the adapter's configuration calls for are not in")


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"peft_type": "PROMPT_TUNING"}, "of the kind PROMPT_TUNING, which can't be merged"),
        ({"task_type": "SEQ_CLS"}, "for the task SEQ_CLS"),
    ],
)
def test_what_cant_be_merged_is_refused(lora: Path, fetch: Fetch, fields: dict[str, object], told: str) -> None:
    change(lora, **fields)

    with pytest.raises(SourceError, match=told):
        fetch(lora, "")


def test_a_pickled_adapter_is_never_loaded(lora: Path, fetch: Fetch) -> None:
    (lora / "adapter_model.safetensors").rename(lora / "adapter_model.bin")

    with pytest.raises(SourceError, match="pickled"):
        fetch(lora, "")


def test_a_model_needs_no_base(tiny: Path, fetch: Fetch) -> None:
    with pytest.raises(BadInput, match="is a model and no adapter: leave the base out"):
        fetch(tiny, str(tiny))


def test_an_adapter_is_not_its_own_base(lora: Path, fetch: Fetch) -> None:
    with pytest.raises(BadInput, match="can't be its own base"):
        fetch(lora, str(lora))


def test_adapters_that_name_each_other_are_refused(lora: Path, tmp_path: Path, fetch: Fetch) -> None:
    other = shutil.copytree(lora, tmp_path / "other")
    change(lora, base_model_name_or_path=str(other))
    change(other, base_model_name_or_path=str(lora))

    with pytest.raises(BadInput, match=f"^{lora} and {other} are adapters that name each other .* --base"):
        fetch(lora, "")
