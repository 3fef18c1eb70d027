"""What we measure ourselves against: the bare runtimes, and llama.cpp on the same weights.

Each runs in a process of its own (``python -m benchmarks.rivals NAME ARGUMENTS`` prints tokens per second), because
their libraries do not get on with each other in one.
"""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx

from .clients import STORY

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


def has_llama_cpp() -> bool:
    return importlib.util.find_spec("llama_cpp") is not None


def llama_cpp(gguf: str, tokens: str) -> float:
    """llama-cpp-python in one process, as its README has it."""
    from llama_cpp import Llama

    llama = Llama(gguf, n_ctx=1024, verbose=False)

    def once(count: int) -> float:
        times = []
        answer = llama.create_chat_completion(
            STORY, max_tokens=count, temperature=0.2, top_p=0.9, top_k=50, repeat_penalty=1.1, seed=1, stream=True
        )  # type: ignore[arg-type]
        for chunk in answer:
            if chunk["choices"][0]["delta"].get("content"):
                times.append(time.perf_counter())
        return (len(times) - 1) / (times[-1] - times[0])

    once(16)
    return once(int(tokens))


@contextlib.contextmanager
def llama_cpp_server(gguf: Path) -> Iterator[str]:
    """llama_cpp.server as its README starts it; gives its address, without /v1."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "llama_cpp.server", "--model", str(gguf), "--n_ctx", "4096"]
    command += ["--host", "127.0.0.1", "--port", str(port), "--verbose", "False"]
    with (Path(os.devnull)).open("w") as null, subprocess.Popen(command, stdout=null, stderr=null) as server:
        url, deadline = f"http://127.0.0.1:{port}", time.monotonic() + 120
        try:
            while True:
                with contextlib.suppress(httpx.HTTPError):
                    if httpx.get(f"{url}/v1/models", timeout=2).status_code == 200:
                        break
                if server.poll() is not None or time.monotonic() > deadline:
                    raise SystemExit("llama_cpp.server did not start.")
                time.sleep(0.2)
            yield url
        finally:
            server.terminate()


if __name__ == "__main__":
    print({"bare_onnx": bare_onnx, "bare_pipeline": bare_pipeline, "llama_cpp": llama_cpp}[sys.argv[1]](*sys.argv[2:]))
