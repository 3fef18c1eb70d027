"""What we measure ourselves against: the bare runtimes, and on the same weights llama.cpp's own server and OpenVINO.

Each runs in a process of its own (``python -m benchmarks.rivals NAME ARGUMENTS`` prints tokens per second), because
their libraries do not get on with each other in one. scripts/build-rivals.sh makes what is in .rivals.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx

from phi3core.engine.cpu import thread_count

from .clients import STORY

RIVALS = Path(__file__).resolve().parent.parent / ".rivals"
SLOT = 2048  # tokens that each of llama-server's slots has room for

# Loads, answers one token, and prints the seconds that took: the limit for opening a version.
_COLD = """
import time; started = time.perf_counter()
import json, sys
import onnxruntime_genai as og
model = og.Model(sys.argv[1]); tokenizer = og.Tokenizer(model)
prompt = tokenizer.encode(tokenizer.apply_chat_template(sys.argv[2], add_generation_prompt=True))
parameters = og.GeneratorParams(model); parameters.set_search_options(max_length=1024)
generator = og.Generator(model, parameters); generator.append_tokens(prompt); generator.generate_next_token()
print(time.perf_counter() - started)
"""


def run(name: str, *arguments: object) -> float:
    """Tokens per second after the first, of one of the functions below, in a new process."""
    command = [sys.executable, "-m", "benchmarks.rivals", name, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{name} failed (exit status {done.returncode}): {done.stderr[-2000:]}")
    return float(done.stdout.split()[-1])


def bare_onnx(folder: str, tokens: str, threads: str) -> float:
    """The plain onnxruntime-genai loop, as its own examples have it. threads: 0 leaves them to the runtime."""
    import onnxruntime_genai as og

    config = og.Config(folder)
    if threads != "0":
        session = {"intra_op_num_threads": int(threads)}
        config.overlay(json.dumps({"model": {"decoder": {"session_options": session}}}))
    model = og.Model(config)
    tokenizer = og.Tokenizer(model)
    prompt = tokenizer.encode(tokenizer.apply_chat_template(json.dumps(STORY), add_generation_prompt=True))

    def once(count: int) -> float:
        parameters = og.GeneratorParams(model)
        longest = len(prompt) + count
        parameters.set_search_options(
            max_length=longest, min_length=longest, do_sample=True, temperature=0.2, top_p=0.9, top_k=50,
            random_seed=1, repetition_penalty=1.1,
        )  # fmt: skip
        generator, stream = og.Generator(model, parameters), tokenizer.create_stream()
        generator.append_tokens(prompt)
        times = []
        while not generator.is_done():
            generator.generate_next_token()
            stream.decode(generator.get_next_tokens()[0])
            times.append(time.perf_counter())
        return (len(times) - 1) / (times[-1] - times[0])

    once(16)
    return once(int(tokens))


def bare_onnx_cold(folder: Path) -> float:
    """Seconds to import the runtime, load the model and answer one token, in a new process."""
    command = [sys.executable, "-c", _COLD, str(folder), json.dumps(STORY)]
    return float(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def bare_pipeline(folder: str, tokenizer: str, tokens: str) -> float:
    """The plain Transformers pipeline in the dtype that the weights were saved in."""
    from transformers import AutoModelForCausalLM, AutoTokenizer, pipeline

    model = AutoModelForCausalLM.from_pretrained(folder, dtype="auto")
    pipe = pipeline("text-generation", model=model, tokenizer=AutoTokenizer.from_pretrained(tokenizer))

    class Times:
        def __init__(self) -> None:
            self.times: list[float] = []

        def put(self, _: object) -> None:
            self.times.append(time.perf_counter())

        def end(self) -> None:
            pass

    def once(count: int) -> float:
        seen = Times()
        pipe(
            STORY, max_new_tokens=count, min_new_tokens=count, do_sample=True, temperature=0.2, top_p=0.9, top_k=50,
            repetition_penalty=1.1, streamer=seen,
        )  # fmt: skip
        times = seen.times[1:]  # the first is the prompt itself
        return (len(times) - 1) / (times[-1] - times[0])

    once(8)
    return once(int(tokens))


def bare_reading(folder: str, tokens: str, threads: str) -> float:
    """Prompt tokens per second of onnxruntime-genai, a prompt appended whole."""
    import numpy as np
    import onnxruntime_genai as og

    config = og.Config(folder)
    config.overlay(json.dumps({"model": {"decoder": {"session_options": {"intra_op_num_threads": int(threads)}}}}))
    model, count = og.Model(config), int(tokens)
    ids = np.random.default_rng(1).integers(100, 40_000, count).astype(np.int32)

    def once() -> float:
        parameters = og.GeneratorParams(model)
        parameters.set_search_options(max_length=count + 8)
        generator, started = og.Generator(model, parameters), time.perf_counter()
        generator.append_tokens(ids)
        return count / (time.perf_counter() - started)

    once()
    return max(once(), once())


@contextlib.contextmanager
def llama_server(gguf: Path) -> Iterator[str | None]:
    """llama.cpp's own server with sixteen slots; gives its address without /v1, None where it is not built."""
    if not (RIVALS / "llama-server").is_file():
        print("--- llama-server and openvino-genai are left out: make bench builds them")
        yield None
        return
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [RIVALS / "llama-server", "-m", gguf, "-np", "16", "-c", str(16 * SLOT), "-t", str(thread_count())]
    command += ["--host", "127.0.0.1", "--port", str(port), "--no-kv-unified"]
    with (Path(os.devnull)).open("w") as null, subprocess.Popen(command, stdout=null, stderr=null) as server:
        url, deadline = f"http://127.0.0.1:{port}", time.monotonic() + 120
        try:
            while True:
                with contextlib.suppress(httpx.HTTPError):
                    if httpx.get(f"{url}/health", timeout=2).status_code == 200:
                        break
                if server.poll() is not None or time.monotonic() > deadline:
                    raise SystemExit("llama-server did not start.")
                time.sleep(0.2)
            yield url
        finally:
            server.terminate()


def openvino(gguf: Path, prompts: list[str], tokens: int, *counts: int) -> list[float]:
    """Tokens per second of so many answers at once by openvino-genai."""
    command = [
        RIVALS / "python" / "bin" / "python",
        Path(__file__).with_name("openvino_batch.py"),
        gguf,
        tokens,
        *counts,
    ]
    asked = "\n".join(prompts)
    done = subprocess.run([str(part) for part in command], input=asked, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"openvino-genai failed: {done.stderr[-2000:]}")
    return [float(line) for line in done.stdout.split()]


if __name__ == "__main__":
    functions = (bare_onnx, bare_reading, bare_pipeline)
    print({function.__name__: function for function in functions}[sys.argv[1]](*sys.argv[2:]))
