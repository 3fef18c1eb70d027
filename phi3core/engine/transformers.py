"""Generation with transformers on a safetensors folder."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    StoppingCriteria,
    StoppingCriteriaList,
    TextIteratorStreamer,
    set_seed,
)

from ..errors import BadInput
from . import Done, Options, check_messages, check_room, until_stop


class TransformersEngine:
    """See engine.Engine. precision ``auto`` takes what the weights were saved in."""

    def __init__(self, folder: Path, tokenizer: Path, precision: str, options: Options) -> None:
        dtype = "auto" if precision == "auto" else getattr(torch, precision)
        device = "cuda" if torch.cuda.is_available() else "cpu"
        model = AutoModelForCausalLM.from_pretrained(folder, dtype=dtype, use_safetensors=True)
        self._model = model.to(device).eval()
        self._tokenizer = AutoTokenizer.from_pretrained(tokenizer)
        self.options = options
        self.context_length = int(self._model.config.max_position_embeddings)
        eos = self._model.generation_config.eos_token_id
        self._eos = set(eos if isinstance(eos, list) else [eos])

    def render(self, messages: list[dict[str, str]]) -> str:
        check_messages(messages)
        if not self._tokenizer.chat_template:
            raise BadInput("This model has no chat template: use a prompt (the completions call) instead.")
        try:
            return str(self._tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True))
        except Exception as error:  # jinja2's TemplateError, raised by the template itself
            raise BadInput(f"The model's chat template does not accept these messages: {error}") from error

    def check(self, prompt: str) -> int:
        tokens = len(self._tokenizer(prompt, add_special_tokens=False)["input_ids"])
        check_room(tokens, self.context_length)
        return tokens

    def stream(self, prompt: str, options: Options, stopped: Callable[[], bool]) -> Iterator[str | Done]:
        inputs = self._tokenizer(prompt, return_tensors="pt", add_special_tokens=False).to(self._model.device)
        prompt_tokens = int(inputs["input_ids"].shape[1])
        room = check_room(prompt_tokens, self.context_length)
        watch = _Watch(stopped, prompt_tokens)
        text = TextIteratorStreamer(self._tokenizer, skip_prompt=True, skip_special_tokens=True)
        failed: list[BaseException] = []

        def generate() -> None:
            try:
                with torch.inference_mode():
                    self._model.generate(
                        **inputs, **self._arguments(options, room), streamer=text,
                        stopping_criteria=StoppingCriteriaList([watch]),
                    )  # fmt: skip
            except BaseException as error:
                failed.append(error)
            finally:
                text.end()

        worker = threading.Thread(target=generate, daemon=True)
        worker.start()
        try:
            ended = yield from until_stop(iter(text), options.stop)
        finally:
            watch.over = True
            worker.join()
        if failed:
            raise failed[0]
        reason = "stop" if ended or stopped() or watch.last in self._eos else "length"
        yield Done(reason, prompt_tokens, watch.count)

    def _arguments(self, options: Options, room: int) -> dict[str, Any]:
        if options.seed is None:
            torch.seed()
        else:
            set_seed(options.seed)
        sampled = options.temperature > 0
        return {
            "max_new_tokens": min(options.max_tokens, room),
            "do_sample": sampled,
            # JSON knows no difference between 2 and 2.0; transformers does.
            "repetition_penalty": float(options.repetition_penalty),
            # None when greedy, or the model's own sampling defaults would be warned about.
            "temperature": float(options.temperature) if sampled else None,
            "top_p": float(options.top_p) if sampled else None,
            "top_k": options.top_k if sampled else None,
        }


class _Watch(StoppingCriteria):  # type: ignore[misc]  # transformers is not typed
    """Counts the tokens as they come, and ends the generation when nobody wants more."""

    def __init__(self, stopped: Callable[[], bool], prompt_tokens: int) -> None:
        self.over, self.count, self.last = False, 0, -1
        self._stopped, self._prompt_tokens = stopped, prompt_tokens

    def __call__(self, input_ids: Any, scores: Any, **kwargs: Any) -> Any:
        self.count, self.last = int(input_ids.shape[1]) - self._prompt_tokens, int(input_ids[0, -1])
        return torch.full((input_ids.shape[0],), self.over or self._stopped(), device=input_ids.device)
