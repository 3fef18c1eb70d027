"""Decoding at Phi-3-mini's real size, with random weights: how close it comes to the machine's memory bandwidth.

    python -m benchmarks.phi3_mini [FOLDER]

Makes a Phi-3 of 3.8 billion random parameters, converts it to int4 (about 20 GB of memory and 10 GB of disk; kept in
FOLDER for the next time), and prints tokens/s by context, memory, and the share of the memory bandwidth: decoding
one token reads every weight once, so bandwidth is its limit.
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import psutil

from phi3core import convert, sources
from phi3core.engine import Options
from phi3core.engine.onnx import OnnxRuntime
from phi3core.engine.sampling import Sampler
from phi3core.engine.tokens import pieces


def make(folder: Path) -> Path:
    """Phi-3-mini's configuration with random weights, and a tokenizer of letters."""
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import GenerationConfig, Phi3Config, Phi3ForCausalLM, PreTrainedTokenizerFast

    config = Phi3Config(
        vocab_size=32064, hidden_size=3072, intermediate_size=8192, num_hidden_layers=32, num_attention_heads=32,
        num_key_value_heads=32, max_position_embeddings=4096, original_max_position_embeddings=4096,
        bos_token_id=1, eos_token_id=2, pad_token_id=2,
    )  # fmt: skip
    torch.set_default_dtype(torch.bfloat16)
    model = Phi3ForCausalLM(config)
    torch.set_default_dtype(torch.float32)
    model.generation_config = GenerationConfig(bos_token_id=1, eos_token_id=2, pad_token_id=2)
    model.save_pretrained(folder)
    letters = {letter: at for at, letter in enumerate(["<unk>", "<s>", "</s>", *pre_tokenizers.ByteLevel.alphabet()])}
    tokenizer = Tokenizer(models.BPE(letters, merges=[], unk_token="<unk>"))
    tokenizer.pre_tokenizer, tokenizer.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    wrapped = PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>", pad_token="</s>")
    wrapped.chat_template = "{% for message in messages %}{{ message['content'] }}{% endfor %}"
    wrapped.save_pretrained(folder)
    return folder


def bandwidth() -> float:
    """Bytes per second that this machine reads from memory, with as many threads as decoding has."""
    from concurrent.futures import ThreadPoolExecutor

    cores = psutil.cpu_count(logical=False) or 1
    parts = [np.ones(500_000_000 // 8 // cores) for _ in range(cores)]
    with ThreadPoolExecutor(cores) as threads:
        best = 0.0
        for _ in range(5):
            started = time.perf_counter()
            list(threads.map(np.sum, parts))
            best = max(best, sum(part.nbytes for part in parts) / (time.perf_counter() - started))
    return best


def main() -> None:
    kept = Path(sys.argv[1]) if len(sys.argv) > 1 else None
    with tempfile.TemporaryDirectory() as temporary:
        home = kept or Path(temporary)
        home.mkdir(parents=True, exist_ok=True)
        source = home / "phi3-mini-random"
        if not (source / "tokenizer.json").is_file():
            make(source)
        weights = sources.fetch(sources.parse(str(source)), home, lambda *_: None)
        folder = convert.to_onnx(weights, "int4", home, home / "convert.log", lambda *_: None)
        size = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
        runtime = OnnxRuntime(folder)
        sampler = Sampler(Options(temperature=0), np.empty(0, np.int32), 1)
        peak = bandwidth()
        print(f"{size / 1e9:.1f} GB of weights; this machine reads {peak / 1e9:.0f} GB/s; pieces of {runtime.piece}")
        for length in (256, 1024, 3500):
            measure(runtime, sampler, length, size, peak)
        memory = psutil.Process().memory_info().rss
        print(f"memory: {memory / 1e9:.1f} GB, KV cache {runtime.token_bytes / 1e6:.2f} MB a token")


def measure(runtime: OnnxRuntime, sampler: Sampler, length: int, size: int, peak: float) -> None:
    """Print reading and writing speed after so many tokens of context."""
    tokens = np.random.default_rng(1).integers(3, 200, length).astype(np.int32)
    sequence = runtime.sequence(length + 32)
    started, slowest = time.perf_counter(), 0.0
    for begin, end in pieces(0, length, runtime.piece, runtime.piece):
        piece = time.perf_counter()
        sequence.append(tokens[begin:end])
        slowest = max(slowest, time.perf_counter() - piece)
    read = length / (time.perf_counter() - started)
    started = time.perf_counter()
    for _ in range(24):
        sequence.append_one(sampler.pick(sequence.logits()))
    speed = 24 / (time.perf_counter() - started)
    print(
        f"{length:5,} tokens of context: writes {speed:5.1f} tokens/s ({speed * size / peak:.0%} of the bandwidth), "
        f"reads {read:4.0f} tokens/s, slowest piece {slowest:.2f} s",
        flush=True,
    )


if __name__ == "__main__":
    main()
