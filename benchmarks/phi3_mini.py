"""Decoding at Phi-3-mini's real size, with random weights: how close it comes to the machine's memory bandwidth.

    python -m benchmarks.phi3_mini [FOLDER]

Makes a Phi-3 of 3.8 billion random parameters, converts it to int4 (about 20 GB of memory and 10 GB of disk; kept in
FOLDER for the next time), and prints tokens/s by context, memory, and the share of the memory bandwidth: decoding
one token reads every weight once, so bandwidth is its limit. Then how long the first token of a conversation's
twentieth turn takes against that of its second.
"""

from __future__ import annotations

import random
import string
import sys
import tempfile
import time
from itertools import pairwise
from pathlib import Path

import numpy as np
import psutil

from phi3core import hashing
from phi3core.build import convert
from phi3core.build.sources.fetch import fetch_weights
from phi3core.build.sources.source import parse_source
from phi3core.engine.interface import Options, Piece
from phi3core.engine.onnx import OnnxRuntime
from phi3core.engine.tokens import TokenEngine


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
        weights = fetch_weights(parse_source(str(source)), home, lambda *_: None)
        folder = convert.convert_to_onnx(weights, "int4", home, home / "convert.log", lambda *_: None)
        size = hashing.folder_size(folder)
        runtime = OnnxRuntime(folder)
        engine = TokenEngine(runtime, Options())
        peak = bandwidth()
        print(f"{size / 1e9:.1f} GB of weights; this machine reads {peak / 1e9:.0f} GB/s")
        for length in (256, 1024, 3500):
            measure(engine, length, size, peak)
        turns(engine)
        memory = psutil.Process().memory_info().rss
        print(f"memory: {memory / 1e9:.1f} GB, KV cache {runtime.token_bytes / 1e6:.2f} MB a token")


def measure(engine: TokenEngine, length: int, size: int, peak: float) -> None:
    """Print reading and writing speed after so many tokens of context."""
    prompt = letters(length, seed=length)
    # The stream gives None where others have their turn: when it has taken its memory, and between two pieces.
    times, steps = [time.perf_counter()], []
    for item in engine.stream(prompt, Options(temperature=0, max_tokens=25, logprobs=0), lambda: False):
        times.append(time.perf_counter())
        steps.append(item)
    read_by = steps.count(None)
    slowest = max(after - before for before, after in pairwise(times[1 : read_by + 1]))
    read = length / (times[read_by] - times[1])
    written = sum(isinstance(step, Piece) for step in steps)
    speed = (written - 1) / (times[read_by + written] - times[read_by + 1])
    print(
        f"{length:5,} tokens of context: writes {speed:5.1f} tokens/s ({speed * size / peak:.0%} of the bandwidth), "
        f"reads {read:4.0f} tokens/s, slowest piece {slowest:.2f} s; "
        f"taking its memory {times[1] - times[0]:.2f} s",
        flush=True,
    )


def turns(engine: TokenEngine) -> None:
    """Print the first token of turn 20 against turn 2, where each answer is read before the next question comes."""
    said, options, firsts = "", Options(temperature=0, max_tokens=60, logprobs=0), []
    for turn in range(20):
        said += letters(24, seed=turn)
        began, steps = time.perf_counter(), engine.stream(said, options, lambda: False)
        next(step for step in steps if step is not None)
        firsts.append(time.perf_counter() - began)
        steps.close()  # type: ignore[attr-defined]
        said += letters(60, seed=100 + turn)  # the answer, whatever it was
        for _ in engine.read_ahead(said, options):
            pass
    second, twentieth = firsts[1], firsts[19]
    print(
        f"first token of a question of 24 tokens: turn 2 {second:.2f} s, turn 20 (after {len(said) - 84:,} tokens) "
        f"{twentieth:.2f} s: {twentieth / second:.2f} times as long"
    )


def letters(length: int, seed: int) -> str:
    """Text of so many tokens: each letter is one."""
    return "".join(random.Random(seed).choices(string.ascii_lowercase, k=length))


if __name__ == "__main__":
    main()
