"""Phi-3 on ONNX Runtime GenAI as an MLflow model: the code that a registered version carries with it.

This file is logged as it is (models from code), so it stands alone: it needs mlflow, onnxruntime-genai
and numpy, and nothing of the project that logged it. Nothing may import it, because ``set_model`` at the
end acts on the whole process.

Signature ``prompt``: a column ``prompt`` of strings; the answer is one string per prompt. The prompt goes
to the model as it is: write its chat tags yourself.
Signature ``chat``: OpenAI chat completion requests; the answer is one chat completion per request, the
prompt rendered with the model's own chat template.
"""

import json
import math
import re
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import onnxruntime_genai as og

ARTIFACT = "phi3-mini-onnx"


class Phi3Model(mlflow.pyfunc.PythonModel):
    def load_context(self, context: Any) -> None:
        folder = Path(context.artifacts[ARTIFACT])
        config = json.loads((folder / "genai_config.json").read_text())
        self.model = og.Model(str(folder))
        self.tokenizer = _Tokenizer(self.model)
        self.context_length = int(config["model"]["context_length"])
        self.eos = {int(token) for token in np.atleast_1d(config["model"]["eos_token_id"])}
        self.options = dict(context.model_config)
        self.is_chat = self.options.pop("signature", "prompt") == "chat"

    # No type hint on model_input: MLflow would take it for the signature.
    def predict(self, context, model_input, params=None):  # type: ignore[no-untyped-def]
        if self.is_chat:
            return [self._completion(request) for request in _requests(model_input)]
        return ["".join(self._stream(prompt, params or {}, {})) for prompt in _prompts(model_input)]

    def predict_stream(self, context, model_input, params=None):  # type: ignore[no-untyped-def]
        """Pieces of text (prompt), or chat completion chunks (chat), of the one request given."""
        asked: list[Any] = _requests(model_input) if self.is_chat else _prompts(model_input)
        if len(asked) != 1:
            raise ValueError(f"Streaming answers one request at a time; this call holds {len(asked)}.")
        if not self.is_chat:
            yield from self._stream(asked[0], params or {}, {})
            return
        ending: dict[str, Any] = {}
        head = _head("chat.completion.chunk")
        for piece in self._stream(self._render(asked[0]), asked[0], ending):
            delta = {"role": "assistant", "content": piece}
            yield {**head, "choices": [{"index": 0, "delta": delta, "finish_reason": None}]}
        end = {"index": 0, "delta": {"role": "assistant", "content": ""}, "finish_reason": ending["finish_reason"]}
        yield {**head, "choices": [end], "usage": ending["usage"]}

    def _completion(self, request: dict[str, Any]) -> dict[str, Any]:
        ending: dict[str, Any] = {}
        text = "".join(self._stream(self._render(request), request, ending))
        message = {"role": "assistant", "content": text}
        choice = {"index": 0, "message": message, "finish_reason": ending["finish_reason"]}
        return {**_head("chat.completion"), "choices": [choice], "usage": ending["usage"]}

    def _render(self, request: dict[str, Any]) -> str:
        unable = [name for name in ("tools", "frequency_penalty", "presence_penalty") if request.get(name)]
        if unable or request.get("n", 1) != 1:
            raise ValueError(f"This model can't do {', '.join(unable) or 'n > 1'}: leave it out of the request.")
        messages = [{"role": m["role"], "content": m["content"]} for m in request["messages"]]
        if not messages:
            raise ValueError("There are no messages: send at least one with role “user”.")
        try:
            return self.tokenizer.render(messages)
        except RuntimeError as error:  # its text goes on with the whole template
            said = re.split(r" at row \d+, column \d+:", str(error).strip())[0]
            raise ValueError(f"The model's chat template does not accept these messages: {said}.") from error

    def _stream(self, prompt: str, asked: dict[str, Any], ending: dict[str, Any]) -> Iterator[str]:
        """Generate, yielding text as it comes; afterwards `ending` holds finish_reason and usage."""
        options = self.options | {name: value for name, value in asked.items() if value is not None}
        tokens = self.tokenizer.encode(prompt)
        if not len(tokens):
            raise ValueError("The prompt is empty: write something for the model to answer.")
        room = self.context_length - len(tokens)
        if room < 1:
            raise ValueError(
                f"The prompt has {len(tokens)} tokens and the model's context holds {self.context_length}: shorten it."
            )
        limit = min(int(options["max_tokens"]), room)
        parameters = og.GeneratorParams(self.model)
        parameters.set_search_options(max_length=len(tokens) + limit)
        generator = og.Generator(self.model, parameters)
        # The last token alone: the kernels round differently for one token than for many, and a server that reads the
        # same prompt in other pieces must come to the same answer.
        for part in (tokens[:-1], tokens[-1:]):
            if len(part):
                generator.append_tokens(part)
        ending |= {"finish_reason": "length", "usage": _usage(len(tokens), 0)}
        pieces = self._pieces(generator, [int(token) for token in tokens], options, limit, ending)
        yield from _until(_texts(options["stop"]), pieces, ending)

    def _pieces(
        self, generator: Any, tokens: list[int], options: dict[str, Any], limit: int, ending: dict[str, Any]
    ) -> Iterator[str]:
        decode = self.tokenizer.decoder()
        seed = int(options["seed"])  # -1: a new one each time; of the others, none is negative to PCG64
        random = np.random.Generator(np.random.PCG64(None if seed == -1 else seed & (2**64 - 1)))
        prompt_tokens = len(tokens)
        for count in range(1, limit + 1):
            token = _draw(np.array(generator.get_logits(), np.float32).reshape(-1), tokens, options, random)
            tokens.append(token)
            ending["usage"] = _usage(prompt_tokens, count)
            if token in self.eos:
                ending["finish_reason"] = "stop"
                return
            yield decode(token)
            if count < limit:
                generator.append_tokens(np.array([token], np.int32))


class _Tokenizer:
    """onnxruntime-genai's, for every text.

    By itself it takes a NUL for the end of a text, and gives -1 for a character that it has no token for.
    """

    def __init__(self, model: Any) -> None:
        self.own = og.Tokenizer(model)
        self.mark, self.mark_id, self.nul_id = self._find_mark()

    def render(self, messages: list[dict[str, Any]]) -> str:
        mark = uuid.uuid4().hex
        marked = [{name: _valid(text or "").replace("\0", mark) for name, text in m.items()} for m in messages]
        return str(self.own.apply_chat_template(json.dumps(marked), add_generation_prompt=True)).replace(mark, "\0")

    def encode(self, text: str) -> Any:
        ids = np.array(self.own.encode(_valid(text).replace("\0", self.mark)), np.int32)
        if "\0" in text and self.mark:
            places = np.flatnonzero(ids == self.mark_id)
            marks = [letter for letter in text if letter in ("\0", self.mark)]
            if len(places) == len(marks):  # else some are parts of longer tokens, and stay as they are
                ids[places[[mark == "\0" for mark in marks]]] = self.nul_id
        return ids[ids >= 0]

    def decoder(self) -> Any:
        stream = self.own.create_stream()
        return lambda token: "\0" if token == self.nul_id else stream.decode(token)

    def _find_mark(self) -> tuple[str, int, int]:
        """A control character to write in place of NUL, its token and NUL's; empty where the vocabulary has no NUL."""
        number = self.own.to_token_id
        for name in ("<0x{:02X}>".format, lambda byte: chr(256 + byte)):  # the two ways in which a byte is a token
            for code in (*range(1, 9), *range(14, 32)):
                found = self.own.encode(chr(code))
                if len(found) and found[-1] == number(name(code)) >= 0 and number(name(0)) >= 0:
                    return chr(code), int(found[-1]), number(name(0))
        return "", -1, -1


def _draw(logits: Any, tokens: list[int], options: dict[str, Any], random: np.random.Generator) -> int:
    """The next token. Not left to the runtime, so that a seed gives the same answer in every server of this model."""
    if (penalty := float(options["repetition_penalty"])) != 1:
        used = np.array(sorted(set(tokens)), np.int64)
        logits[used] = np.where(logits[used] > 0, logits[used] / penalty, logits[used] * penalty)
    temperature = float(options["temperature"])
    if temperature <= 0:
        return int(logits.argmax())
    top = logits.max()
    # A token 1e-7 times as likely as the likeliest never comes, nor one below min_p.
    min_p = float(options["min_p"])
    ids = np.flatnonzero(logits >= top - min(16.0, -math.log(min_p) if min_p > 0 else math.inf) * temperature)
    draw = random.random()
    if len(ids) == 1:
        return int(ids[0])
    if len(ids) > int(options["top_k"]) > 0:
        ids = np.sort(ids[np.argpartition(logits[ids], -int(options["top_k"]))[-int(options["top_k"]) :]])
    ids = ids[np.argsort(-logits[ids], kind="stable")]
    cumulated = np.cumsum(np.exp((logits[ids] - top).astype(np.float64) / temperature))
    last = min(int(np.searchsorted(cumulated, float(options["top_p"]) * cumulated[-1])), len(ids) - 1)
    return int(ids[min(int(np.searchsorted(cumulated[: last + 1], draw * cumulated[last], side="right")), last)])


def _until(stops: list[str], pieces: Iterator[str], ending: dict[str, Any]) -> Iterator[str]:
    """Pass text on until a stop sequence appears, which is cut off; hold back what may become one."""
    stops = [stop for stop in stops if stop]
    held, keep = "", max((len(stop) for stop in stops), default=1) - 1
    for piece in pieces:
        held += piece
        found = [at for at in (held.find(stop) for stop in stops) if at >= 0]
        if found:
            ending["finish_reason"] = "stop"
            yield held[: min(found)]
            return
        ready = len(held) - keep
        if ready > 0:
            yield held[:ready]
            held = held[ready:]
    if held:
        yield held


def _usage(prompt: int, completion: int) -> dict[str, int]:
    return {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion}


def _head(kind: str) -> dict[str, Any]:
    return {"id": f"chatcmpl-{uuid.uuid4().hex}", "object": kind, "created": int(time.time()), "model": ARTIFACT}


def _prompts(model_input: Any) -> list[str]:
    """Every prompt of a call: MLflow hands over a table, whose cells may hold one string or a list of them."""
    column = model_input["prompt"] if hasattr(model_input, "columns") or isinstance(model_input, dict) else model_input
    return _texts(list(column) if not isinstance(column, str) else column)


def _valid(text: str) -> str:
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise ValueError("The text is not valid Unicode: it holds half of a character, a lone surrogate.") from error
    return text


def _texts(value: Any) -> list[str]:
    if value is None:
        return []
    if isinstance(value, str):
        return [value]
    if isinstance(value, list | tuple | np.ndarray):
        return [text for item in value for text in _texts(item)]
    raise ValueError(f"Expected a string or a list of strings, not {type(value).__name__}.")


def _requests(model_input: Any) -> list[dict[str, Any]]:
    """Every chat request of a call; a table's missing cells (None, NaN) are left out."""
    rows = model_input.to_dict("records") if hasattr(model_input, "to_dict") else [model_input]
    return [
        {name: value for name, value in row.items() if value is not None and not _is_nan(value)}
        for row in (rows if isinstance(rows, list) else [rows])
    ]


def _is_nan(value: Any) -> bool:
    return isinstance(value, float) and bool(np.isnan(value))


mlflow.models.set_model(Phi3Model())
