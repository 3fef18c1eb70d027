"""Decoding speed of an ONNX version through the model server, as ratios to what it is built on.

    python -m benchmarks.decode [REF]

Prints tokens per second of the bare onnxruntime-genai loop (the limit), of the model server read by the openai
client, and of llama.cpp on the same GGUF weights where llama-cpp-python is installed (make bench does that). The runs
alternate, and the medians are compared.
"""

from __future__ import annotations

import json
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from phi3core import keys, registry, settings
from phi3core.serving.pool import Pool
from phi3core.sources import embedded

MESSAGES = [{"role": "user", "content": "Write a long story about the sea."}]
TOKENS, ROUNDS = 200, 5


def bare(folder: Path) -> Callable[[], float]:
    import onnxruntime_genai as og

    model = og.Model(str(folder))
    tokenizer = og.Tokenizer(model)
    prompt = tokenizer.encode(tokenizer.apply_chat_template(json.dumps(MESSAGES), add_generation_prompt=True))

    def run() -> float:
        parameters = og.GeneratorParams(model)
        parameters.set_search_options(
            max_length=len(prompt) + TOKENS, do_sample=True, temperature=0.2, top_p=0.9, top_k=50, random_seed=1,
            min_length=len(prompt) + TOKENS, repetition_penalty=1.1,
        )  # fmt: skip
        generator, stream = og.Generator(model, parameters), tokenizer.create_stream()
        generator.append_tokens(prompt)
        times = []
        while not generator.is_done():
            generator.generate_next_token()
            stream.decode(generator.get_next_tokens()[0])
            times.append(time.perf_counter())
        return (len(times) - 1) / (times[-1] - times[0])

    return run


def served(url: str, key: str, model: str) -> Callable[[], float]:
    from openai import OpenAI

    client = OpenAI(base_url=f"{url}/v1", api_key=key, max_retries=0)

    def run() -> float:
        times, tokens = [], 0
        request: dict[str, Any] = {"model": model, "messages": MESSAGES, "max_tokens": TOKENS, "seed": 1}
        with client.chat.completions.create(**request, stream=True, stream_options={"include_usage": True}) as stream:
            for chunk in stream:
                if chunk.choices and chunk.choices[0].delta.content:
                    times.append(time.perf_counter())
                if chunk.usage:
                    tokens = chunk.usage.completion_tokens
        return (tokens - 1) / (times[-1] - times[0])

    return run


def llama_cpp(gguf: Path) -> Callable[[], float] | None:
    try:
        from llama_cpp import Llama
    except ImportError:
        return None
    llama = Llama(str(gguf), n_ctx=1024, verbose=False)

    def run() -> float:
        times = []
        for chunk in llama.create_chat_completion(MESSAGES, max_tokens=TOKENS, temperature=0.2, stream=True, seed=1):
            if chunk["choices"][0]["delta"].get("content"):
                times.append(time.perf_counter())
        return (len(times) - 1) / (times[-1] - times[0])

    return run


def main() -> None:
    config = settings.load()
    version = registry.resolve(config, sys.argv[1] if len(sys.argv) > 1 else f"{keys.DEMO_MODEL}/2")
    folder = registry.download(config, version)
    pool = Pool(config)
    try:
        server = pool.open(version)
        server.wait_ready()
        runs = {
            "bare onnxruntime-genai loop": bare(next(folder.rglob("genai_config.json")).parent),
            "model server, openai client": served(server.url, server.key, version.ref),
        }
        if other := llama_cpp(embedded.gguf(config.cache, lambda *_: None)):
            runs["llama.cpp, the same weights in Q4_1"] = other
        for run in runs.values():
            run()
        speeds: dict[str, list[float]] = {name: [] for name in runs}
        for _ in range(ROUNDS):
            for name, run in runs.items():
                speeds[name].append(run())
    finally:
        pool.close()
    limit, ours = (statistics.median(speeds[name]) for name in list(runs)[:2])
    for name, found in speeds.items():
        print(f"{name:40} {statistics.median(found):6.0f} tokens/s")
    print(f"model server / bare loop: {ours / limit:.2f}")
    if len(runs) > 2:
        print(f"model server / llama.cpp: {ours / statistics.median(speeds[list(runs)[2]]):.2f}")


if __name__ == "__main__":
    main()
