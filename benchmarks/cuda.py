"""On an NVIDIA GPU: how fast both wrappers' runtimes decode there, and what one step of several answers costs.

    python -m benchmarks.cuda FOLDER [SOURCE …]

SOURCE: folders of Transformers weights; by default the embedded model and a Phi-3-mini of random weights, both made in
FOLDER (30 GB of disk). Each is run as a pipeline, and converted for CUDA at fp16 and int4. What a line compares with is
the bare loop of the same library on the same weights. The rows are plain onnxruntime with keys and values on the GPU,
which the product does not do yet.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from phi3core.build.sources.fetch import fetch_weights
from phi3core.build.sources.source import parse_source
from phi3core.engine.decoder_graph import IDS, LOGITS, MASK, _caches
from phi3core.engine.interface import Options, Piece
from phi3core.engine.tokens import TokenEngine

from .tables import median

CONTEXTS = (256, 1024, 3500)
ROWS = (1, 2, 4, 8, 16, 32)
TOKENS = 128


def main() -> None:
    home = Path(sys.argv[1])
    sources = [Path(source) for source in sys.argv[2:]] or [embedded(home), phi3_mini(home)]
    for source in sources:
        print(f"\n# {source.name}", flush=True)
        attempt(transformers, source)
        for precision in ("fp16", "int4"):
            folder = home / f"{source.name}-{precision}"
            attempt(convert, source, folder, precision)
            attempt(genai, folder)
            attempt(rows, folder)


def attempt(run: Callable[..., None], *arguments: Any) -> None:
    """One part, whose failure is told and ends nothing else."""
    try:
        run(*arguments)
    except Exception as error:
        print(f"FAILED {run.__name__} {arguments[-1]}: {type(error).__name__}: {str(error)[:600]}", flush=True)


def embedded(home: Path) -> Path:
    return fetch_weights(parse_source("embedded"), home, lambda *_: None).folder


def phi3_mini(home: Path) -> Path:
    import torch

    from .phi3_mini import make

    torch.set_default_device("cuda")  # random numbers of 3.8 billion weights take a minute on a CPU
    folder = make(home / "phi3-mini-random")
    torch.set_default_device("cpu")
    return folder


def convert(source: Path, folder: Path, precision: str) -> None:
    began = time.perf_counter()
    command = [sys.executable, "-m", "onnxruntime_genai.models.builder", "-i", str(source), "-o", str(folder)]
    command += ["-p", precision, "-e", "cuda", "-c", str(folder / "cache")]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError((done.stdout + done.stderr)[-600:])
    print(f"converted to {precision} for CUDA in {time.perf_counter() - began:.0f} s", flush=True)


def transformers(source: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM

    from phi3core.engine.transformers import TransformersRuntime

    engine = TokenEngine(TransformersRuntime(source, source, "bfloat16"), Options())
    decode, reads = speed(engine)
    del engine
    model = AutoModelForCausalLM.from_pretrained(source, dtype=torch.bfloat16).to("cuda").eval()

    def bare(count: int) -> float:
        ids = torch.randint(3, 200, (count, 30), device="cuda")
        model.generate(ids, attention_mask=torch.ones_like(ids), max_new_tokens=8, do_sample=False)
        began = time.perf_counter()
        out = model.generate(
            ids, attention_mask=torch.ones_like(ids), max_new_tokens=TOKENS, min_new_tokens=TOKENS, do_sample=False
        )
        return float((out.shape[1] - 30) * count / (time.perf_counter() - began))

    one, eight = bare(1), bare(8)
    print(f"pipeline, bfloat16: {decode:.0f} tokens/s; bare generate {one:.0f}, ratio {decode / one:.2f}; {reads}")
    print(f"    bare generate of eight at once: {eight:.0f} tokens/s in all", flush=True)


def genai(folder: Path) -> None:
    import onnxruntime_genai as og

    from phi3core.engine.onnx import OnnxRuntime

    engine = TokenEngine(OnnxRuntime(folder), Options())
    decode, reads = speed(engine)
    del engine
    model = og.Model(str(folder))
    params = og.GeneratorParams(model)
    params.set_search_options(max_length=1024, min_length=1024, do_sample=False)
    seen = []
    for _ in range(3):
        generator = og.Generator(model, params)
        generator.append_tokens(np.arange(3, 33, dtype=np.int32))
        generator.generate_next_token()
        began = time.perf_counter()
        for _ in range(TOKENS):
            generator.generate_next_token()
        seen.append(TOKENS / (time.perf_counter() - began))
        del generator
    bare = median(seen)
    print(f"genai: {decode:.0f} tokens/s; bare loop {bare:.0f}, ratio {decode / bare:.2f}; {reads}", flush=True)


def speed(engine: TokenEngine) -> tuple[float, str]:
    """Tokens/s of a greedy answer to 30 tokens, and how long prompts take to be read, as text."""
    decode, told = [], []
    for _ in range(3):
        decode.append(answer(engine, 30, TOKENS)[1])
    for length in CONTEXTS:
        first, _ = answer(engine, length, 2)
        told.append(f"{length:,} tokens in {first * 1000:.0f} ms")
    return median(decode), "first token after " + ", ".join(told)


def answer(engine: TokenEngine, length: int, count: int) -> tuple[float, float]:
    """Seconds to the first token, and tokens/s after it."""
    prompt = tuple(int(token) for token in np.random.default_rng().integers(100, 200, length))
    began = time.perf_counter()
    times = [
        time.perf_counter()
        for item in engine.stream(prompt, Options(temperature=0, max_tokens=count, logprobs=0), lambda: False)
        if isinstance(item, Piece)
    ]
    return times[0] - began, (len(times) - 1) / max(times[-1] - times[0], 1e-9)


def rows(folder: Path) -> None:
    """What a step of several rows costs, and whether a row's logits are the same alone and in a batch."""
    import onnx
    import onnxruntime as ort
    import torch

    config = json.loads((folder / "genai_config.json").read_text())["model"]
    decoder, path = config["decoder"], folder / config["decoder"]["filename"]
    graph = onnx.load(str(path), load_external_data=False).graph
    kinds = {value.name: value.type.tensor_type.elem_type for value in [*graph.input, *graph.output]}
    half = kinds[LOGITS] == onnx.TensorProto.FLOAT16
    caches, types = _caches(graph), {True: np.float16, False: np.float32}
    extra = kinds.keys() - {IDS, MASK, LOGITS} - {name for pair in caches for name in pair}
    if not caches or extra:
        raise RuntimeError(f"the graph takes {sorted(extra)} too")
    session = ort.InferenceSession(str(path), providers=["CUDAExecutionProvider"])
    print(f"    plain onnxruntime: {session.get_providers()}, logits {'fp16' if half else 'fp32'}")
    past_half = kinds[caches[0][0]] == onnx.TensorProto.FLOAT16
    shape = (max(ROWS), decoder["num_key_value_heads"], 4096, decoder["head_size"])
    kept = [torch.zeros(shape, dtype=torch.float16 if past_half else torch.float32, device="cuda") for _ in caches]

    def step(count: int, length: int, tokens: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        binding = session.io_binding()
        binding.bind_cpu_input(IDS, tokens)
        binding.bind_cpu_input(MASK, np.ones((count, length), np.int64))
        logits = torch.empty((count, tokens.shape[1], config["vocab_size"]), device="cuda")
        logits = logits.half() if half else logits
        binding.bind_output(LOGITS, "cuda", 0, types[half], tuple(logits.shape), logits.data_ptr())
        for at, (past, present) in enumerate(caches):
            for name, bind in ((past, binding.bind_input), (present, binding.bind_output)):
                value = kept[at]
                bind(name, "cuda", 0, types[past_half], (count, *shape[1:]), value.data_ptr())
        session.run_with_iobinding(binding)
        return np.asarray(logits[:, -1].float().cpu())

    same = []
    for count in ROWS:
        step(count, 20, np.tile(np.arange(3, 23), (count, 1)))
        same.append(step(count, 21, np.full((count, 1), 50))[0])
    exact = [count for count, logits in zip(ROWS, same, strict=True) if np.array_equal(logits, same[0])]
    print(f"    a row's logits are to the last bit those that it has alone in batches of {exact}")
    for length in CONTEXTS:
        told, alone = [], 0.0
        for count in ROWS:
            times = []
            for number in range(25):
                began = time.perf_counter()
                step(count, length + number, np.full((count, 1), 50))
                times.append(time.perf_counter() - began)
            all_ = count / median(times[5:])
            alone = alone or all_
            told.append(f"{count}: {all_:,.0f} ({all_ / alone:.2f})")
        print(f"    rows at {length:,} tokens, tokens/s in all (against one): " + ", ".join(told), flush=True)


if __name__ == "__main__":
    main()
