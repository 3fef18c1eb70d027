"""openvino-genai's continuous batching of a GGUF, in process: tokens per second of all answers while all are written.

Run by the interpreter of .rivals, which has neither our packages nor a client: FILE GGUF TOKENS COUNT [COUNT …], the
prompts on standard input, one a line. Prints a number for each count.
"""

from __future__ import annotations

import sys
import time
from typing import Any

import openvino_genai as ov  # type: ignore[import-not-found]


def main() -> None:
    gguf, tokens, *counts = sys.argv[1:]
    prompts = sys.stdin.read().splitlines()
    scheduler = ov.SchedulerConfig()
    scheduler.cache_size = 2  # GB
    pipe = ov.ContinuousBatchingPipeline(gguf, scheduler, "CPU")
    options = ov.GenerationConfig()
    options.do_sample, options.temperature, options.top_p, options.top_k = True, 0.2, 0.9, 50
    options.apply_chat_template, options.ignore_eos = True, True
    write(pipe, prompts[:1], options, 8)
    for count in counts:
        print(write(pipe, prompts[: int(count)], options, int(tokens)))


def write(pipe: Any, prompts: list[str], options: Any, tokens: int) -> float:
    """Tokens per second of all, from when all are writing until the first has ended."""
    options.max_new_tokens = tokens
    answers = [(pipe.add_request(number, prompt, options), list[float]()) for number, prompt in enumerate(prompts)]
    while pipe.has_non_finished_requests():
        pipe.step()
        for handle, times in answers:
            if handle.can_read():
                new = sum(len(output.generated_ids) for output in handle.read().values())
                times += [time.perf_counter()] * new
    begun, ended = max(times[0] for _, times in answers), min(times[-1] for _, times in answers)
    return sum(sum(begun < at <= ended for at in times) for _, times in answers) / (ended - begun)


if __name__ == "__main__":
    main()
