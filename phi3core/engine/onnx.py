"""Generation with onnxruntime-genai on an ONNX folder."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path

import numpy as np
import onnxruntime_genai as og

from ..errors import BadInput
from . import Done, Options, check_messages, check_room, until_stop

# The runtime holds the GIL while it reads a prompt. In pieces, the server's event loop gets a turn in between.
_PIECE = 64


def pieces_of(length: int) -> list[tuple[int, int]]:
    """Where to cut a prompt. Never a last piece of one token: the kernels round differently for one than for many."""
    cuts = [*range(0, length, _PIECE), length]
    if len(cuts) > 2 and cuts[-1] - cuts[-2] == 1:
        del cuts[-2]
    return list(pairwise(cuts))


class OnnxEngine:
    """See engine.Engine."""

    def __init__(self, folder: Path, options: Options) -> None:
        config = json.loads((folder / "genai_config.json").read_text())["model"]
        self.options = options
        self.context_length = int(config["context_length"])
        self._eos = {int(token) for token in np.atleast_1d(config["eos_token_id"])}
        self._model = og.Model(str(folder))
        self._tokenizer = og.Tokenizer(self._model)

    def render(self, messages: list[dict[str, str]]) -> str:
        check_messages(messages)
        try:
            return str(self._tokenizer.apply_chat_template(json.dumps(messages), add_generation_prompt=True))
        except RuntimeError as error:
            raise BadInput(f"The model's chat template does not accept these messages: {error}") from error

    def check(self, prompt: str) -> int:
        tokens = len(self._tokenizer.encode(prompt))
        check_room(tokens, self.context_length)
        return tokens

    def stream(self, prompt: str, options: Options, stopped: Callable[[], bool]) -> Iterator[str | Done]:
        tokens = self._tokenizer.encode(prompt)
        room = check_room(len(tokens), self.context_length)
        generator = og.Generator(self._model, self._parameters(options, len(tokens), room))
        for start, end in pieces_of(len(tokens)):
            if stopped():
                break
            generator.append_tokens(tokens[start:end])
        decoder, count, reason = self._tokenizer.create_stream(), 0, "length"

        def pieces() -> Iterator[str]:
            nonlocal count, reason
            while not stopped() and not generator.is_done():
                generator.generate_next_token()
                token = int(generator.get_next_tokens()[0])
                count += 1
                if token in self._eos:
                    reason = "stop"
                    return
                yield decoder.decode(token)

        if (yield from until_stop(pieces(), options.stop)) or stopped():
            reason = "stop"
        yield Done(reason, len(tokens), count)

    def _parameters(self, options: Options, prompt_tokens: int, room: int) -> og.GeneratorParams:
        sampled = options.temperature > 0
        search = {
            "max_length": prompt_tokens + min(options.max_tokens, room),
            "do_sample": sampled,
            "repetition_penalty": options.repetition_penalty,
        }
        if sampled:
            search |= {"temperature": options.temperature, "top_p": options.top_p, "top_k": options.top_k}
        if options.seed is not None:
            search["random_seed"] = options.seed
        parameters = og.GeneratorParams(self._model)
        parameters.set_search_options(**search)
        return parameters
