"""How fast a chat is, as ratios to what it is built on and to rivals, all in one run.

    python -m benchmarks.chat [ONNX-REF [TRANSFORMERS-REF]]

Needs an idle machine, and versions such as “python -m phi3core demo” builds. What runs against each other takes turns,
and medians are compared. The rows of llama.cpp's server and openvino-genai are left out where make bench has not built
them.
"""

from __future__ import annotations

import json
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np

from phi3core import hashing, tags
from phi3core.build.sources import embedded
from phi3core.engine.cpu import thread_count
from phi3core.registry import artifacts, reader
from phi3core.registry.models import Version
from phi3core.serving.handle import ModelServer
from phi3core.serving.pool import Pool
from phi3core.settings import Settings, load_settings

from . import cell, concurrency, crowds, rivals
from .app_server import describe_machine, running_app
from .clients import STORY, Target, ask, client
from .phi3_mini import bandwidth
from .tables import alternate, median, row

TOKENS = 200
READING = 1.0  # seconds; a person takes longer


def decoding(server: ModelServer, app: str, version: Version, folder: Path) -> None:
    """Tokens per second against the bare loop."""
    direct, through = client(server.url, server.key), client(app)
    runs = {
        "bare": lambda: rivals.run("bare_onnx", folder, TOKENS, 0),
        "bare, our threads": lambda: rivals.run("bare_onnx", folder, TOKENS, thread_count()),
        "server": lambda: ask(direct, version.ref, STORY, TOKENS).speed,
        "app": lambda: ask(through, version.ref, STORY, TOKENS).speed,
    }
    # After an answer a model server reads it, as the next turn will begin with it: not at the next one's expense.
    speeds = alternate(runs, rest=3)
    told = ", ".join(f"{name} {speed:.0f}" for name, speed in speeds.items()) + " tokens/s"
    own = speeds["server"] / speeds["bare, our threads"]
    row("decode, model server / bare onnxruntime-genai, as many threads", own, 0.90, True, told)
    row("the same / that loop as it comes", speeds["server"] / speeds["bare"], 0.95, True, "")
    row("decode, through the app's port / the same", speeds["app"] / speeds["bare"], 0.90, True, "")


def kept(ours: Target, rival: Target) -> None:
    """The first token where the prompt is kept from the same question before."""
    seen = alternate({name: lambda at=at: at.ask(STORY, 4).first for name, at in (("a", ours), ("b", rival))}, 15)
    told = f"{seen['a'] * 1000:.0f} ms, {seen['b'] * 1000:.0f} ms"
    row("first token, prompt kept / llama-server, likewise", seen["a"] / seen["b"], 1.0, False, told)


def reading(server: ModelServer, version: Version, folder: Path) -> None:
    """A prompt read alone, by a client, against onnxruntime-genai, which is given it whole."""
    openai, chance = client(server.url, server.key), np.random.default_rng(2)

    def ours(length: int) -> float:
        prompt = chance.integers(100, 40_000, length).tolist()
        began = time.perf_counter()
        openai.completions.create(model=version.ref, prompt=prompt, max_tokens=1)
        return length / (time.perf_counter() - began)

    for length, limit in ((256, 1.1), (1024, 1.1), (3500, 1.0)):
        runs = {
            "ours": lambda length=length: ours(length),
            "bare": lambda length=length: rivals.run("bare_reading", folder, length, thread_count()),
        }
        speeds = alternate(runs, 3)
        told = f"{speeds['ours']:.0f}, {speeds['bare']:.0f} tokens/s"
        row(f"a prompt of {length:,} tokens, model server / bare", speeds["ours"] / speeds["bare"], limit, True, told)


def turns(server: ModelServer, version: Version) -> None:
    """The first token of turn 20 against that of turn 2, of a person who reads each answer before the next question."""
    late, early = _turns(server, version, READING)
    told = f"{late * 1000:.0f} ms, {early * 1000:.0f} ms; questions {READING:g} s after the answers"
    row("first token, turn 20 / turn 2 of a conversation", late / early, 1.5, False, told)
    late, early = _turns(server, version, 0)
    print(f"    asked at once, as a program does: {late / early:.2f}  ({late * 1000:.0f} ms, {early * 1000:.0f} ms)")


def _turns(server: ModelServer, version: Version, pause: float) -> tuple[float, float]:
    found: dict[int, list[float]] = {2: [], 20: []}
    openai = client(server.url, server.key)
    for round_ in range(3):
        messages: list[dict[str, str]] = []
        for turn in range(1, 21):
            question = f"Tell me one more thing about island number {turn * 7 + round_}, in one sentence."
            messages.append({"role": "user", "content": question})
            answer = ask(openai, version.ref, messages, 60)
            messages.append({"role": "assistant", "content": answer.text})
            if turn in found:
                found[turn].append(answer.first)
            time.sleep(pause)
    return median(found[20]), median(found[2])


def transformers(pool: Pool, version: Version, folder: Path) -> None:
    """The other wrapper against its bare pipeline."""
    server = pool.open(version)
    server.wait_ready()
    openai = client(server.url, server.key)
    runs = {
        "pipeline": lambda: rivals.run(
            "bare_pipeline", folder / "model", folder / "components" / "tokenizer", TOKENS // 2
        ),
        "server": lambda: ask(openai, version.ref, STORY, TOKENS // 2).speed,
    }
    speeds = alternate(runs, 3)
    told = ", ".join(f"{name} {speed:.0f}" for name, speed in speeds.items()) + " tokens/s"
    row("decode, transformers version / bare pipeline", speeds["server"] / speeds["pipeline"], 0.95, True, told)
    print(f"    the transformers version takes {_memory(server)}")
    server.close()


def cold(config: Settings, version: Version, other: Version, folder: Path) -> None:
    """From asking a fresh app for a version to its first token; and what open versions cost the app itself."""
    ours, bare, before, after = [], [], 0.0, 0.0
    for number in range(3):
        with running_app(config) as (url, process):
            openai = client(url)
            openai.models.list()
            time.sleep(8)  # a person looks at the page first; the spare process gets ready
            before = process.memory_info().rss
            ours.append(ask(openai, version.ref, STORY, 1).first)
            if number == 2:
                ask(openai, other.ref, STORY, 20)
                ask(openai, version.ref, STORY, 200)
                after = process.memory_info().rss
        bare.append(rivals.bare_onnx_cold(folder))
    more = median(ours) - median(bare)
    told = f"{median(ours):.2f} s, bare {median(bare):.2f} s"
    row("cold open, click to first token: seconds more than the bare runtime", more, 1.0, False, told)
    told = f"{after / 1e6:.0f} MB, {before / 1e6:.0f} MB"
    row("app server's memory, two versions open / none", after / before, 1.1, False, told)


def contexts(server: ModelServer, version: Version, folder: Path) -> None:
    """Tokens per second by how much is in the context, the memory that the version takes, and the bandwidth it reaches.

    Decoding a token reads every weight once. At Phi-3-mini's size: phi3_mini.py.
    """
    openai = client(server.url, server.key)
    told, speeds = [], []
    for length in (256, 1024, 3500):
        messages = [{"role": "user", "content": "The sea is wide and deep. " * (length // 7)}]
        speed = median([ask(openai, version.ref, messages, 60).speed for _ in range(3)])
        told.append(f"{speed:.0f} at {length:,}")
        speeds.append(speed)
    print(f"    tokens/s by tokens of context: {', '.join(told)}; the ONNX version takes {_memory(server)}")
    size, peak = hashing.folder_size(folder), bandwidth()
    reached = f"{speeds[0] * size / 1e9:.1f} of {peak / 1e9:.1f} GB/s ({speeds[0] * size / peak:.0%})"
    print(f"    weights read from memory while decoding, and what this machine reads: {reached}")


def _token_bytes(folder: Path) -> int:
    """Keys and values of a token in every layer, as float32."""
    decoder = json.loads((folder / "genai_config.json").read_text())["model"]["decoder"]
    return int(2 * 4 * decoder["num_hidden_layers"] * decoder["num_key_value_heads"] * decoder["head_size"])


def _memory(server: ModelServer) -> str:
    return f"{server.memory / 1e6:.0f} MB"


def main() -> None:
    config = load_settings()
    refs = [*sys.argv[1:3], f"{tags.DEMO_MODEL}/2", f"{tags.DEMO_MODEL}/1"]
    onnx = reader.get_version(config, refs[0])
    other = reader.get_version(config, refs[-1] if len(sys.argv) < 3 else refs[1])
    folder = next(artifacts.download(config, onnx).rglob("genai_config.json")).parent
    gguf = embedded.fetch_gguf(config.cache, lambda *_: None)
    print(f"{describe_machine()}\n{onnx.ref}: {onnx.precision}; {other.ref}: {other.precision}\n", flush=True)
    cold(config, onnx, other, folder)
    cell.cost(config, onnx)
    pool = Pool(replace(config, parallel=max(crowds.COUNTS)))
    try:
        transformers(pool, other, artifacts.download(config, other))
        server = pool.open(onnx)
        server.wait_ready()
        with running_app(config) as (url, _):
            ask(client(url), onnx.ref, STORY, 1)
            decoding(server, url, onnx, folder)
        ours = Target(server.url, server.key, onnx.ref)
        concurrency.gaps(server, onnx)
        turns(server, onnx)
        concurrency.silence(server, onnx)
        with rivals.llama_server(gguf) as address:
            rival = Target(address) if address else None
            crowds.compare(ours, rival, gguf)
            if rival:
                kept(ours, rival)
        crowds.contexts(ours, lambda: server.memory, _token_bytes(folder))
        crowds.batch(ours)
        contexts(server, onnx, folder)
        reading(server, onnx, folder)
    finally:
        pool.close()


if __name__ == "__main__":
    main()
