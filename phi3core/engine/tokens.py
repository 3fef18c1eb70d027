"""Generates on a runtime: reads the prompt in pieces, draws tokens, cuts at stop sequences.

Knows nothing of ONNX or PyTorch: a runtime brings a tokenizer and sequences of tokens.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Generator, Iterator
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from phi3core.errors import BadInput

from .echo import PromptScorer, in_turn
from .interface import (
    ALL_OPTIONS,
    Done,
    End,
    Messages,
    Options,
    Piece,
    Prompt,
    Token,
    check_messages,
    check_room,
    context_full,
    only_text,
)
from .kv_cache import CachedSequence, SequenceCache, Tokens
from .prefill import PromptReader
from .runtime import Runtime
from .sampling import Sampler, log_probabilities
from .stop_filter import StopFilter

if TYPE_CHECKING:
    from .guidance import Constraint, Guidance

# The part of the free memory that conversations may take with their KV caches.
_SHARE = 0.25
_CHARACTERS = 16  # of a text for each token of the context: several times as many as a text that fits has
_DIVIDED = "longer ones are computed with other factors from their beginning on."
_ENCODED = 8192  # tokens of prompts to encode at once: hundredths of a second
_QUESTION = 256  # tokens of a longish question, for which room is made beforehand


class TokenEngine:
    """See interface.Engine. budget: bytes for conversations' KV caches; by default a share of the free memory."""

    signature: dict[str, Any] | None = None

    def __init__(self, runtime: Runtime, options: Options, budget: int | None = None) -> None:
        self._runtime = runtime
        self.chat: Literal["template", "prompt"] = "template" if runtime.templated else "prompt"
        # A request is counted before it is answered, and tokenizing a long conversation takes milliseconds.
        self._encode = lru_cache(maxsize=8)(runtime.encode)
        self.options = options
        # An answer that follows a schema is ended by the token that ends answers.
        self.supports = ALL_OPTIONS - ({"json_schema"} if not runtime.eos else set())
        if not runtime.rows:
            self.supports -= {"echo"}
        self.context_length: int = runtime.context_length
        self.batched, self.exact = runtime.batched, runtime.exact
        budget = int(runtime.free() * _SHARE) if budget is None else budget
        self._reader = PromptReader(runtime)
        self._cache = SequenceCache(
            runtime.sequence,
            runtime.token_bytes,
            runtime.context_length,
            budget,
            self._reader.grain,
            runtime.free,
            runtime.slots,
        )

    def prepare(self, messages: Messages) -> str:
        check_messages(messages)
        return self._runtime.render(messages) if self.chat == "template" else only_text(messages)

    def count(self, prompt: Prompt) -> int:
        return len(self._tokens(prompt))

    def check(self, prompt: Prompt, options: Options) -> int:
        self._refuse_far_too_long(prompt)
        tokens = self.count(prompt)
        room = check_room(tokens, self._runtime.context_length)
        limit = min(options.max_tokens, room)
        # The last token of an answer is not read.
        if options.echo and 0 < self._runtime.divide < tokens + max(0, limit - 1):
            most = f"at most {self._runtime.divide:,} tokens, the prompt and its answer together"
            raise BadInput(f"With echo this model reads {most}: {_DIVIDED}")
        if options.json_schema:
            from . import guidance

            guidance.check(options.json_schema)
        return tokens + limit

    def _refuse_far_too_long(self, prompt: Prompt) -> None:
        """Raise ContextFull for a text whose beginning alone fills the context: reading all of it takes seconds."""
        beginning = self.context_length * _CHARACTERS
        if isinstance(prompt, str) and len(prompt) > beginning:
            count = len(self._runtime.encode(prompt[:beginning]))
            if count > self.context_length:
                raise context_full(f"more than {count:,}", self.context_length)

    def _tokens(self, prompt: Prompt) -> Tokens:
        """The prompt's token ids. Raises BadInput for messages, and for a number that is no token."""
        if isinstance(prompt, str):
            return self._encode(prompt)
        if isinstance(prompt, list):
            raise BadInput("This version takes a rendered prompt.")
        if odd := [token for token in prompt if not 0 <= token < self._runtime.vocabulary]:
            raise BadInput(f"There is no token {odd[0]}: the model's vocabulary has {self._runtime.vocabulary:,}.")
        return np.array(prompt, np.int32)

    def fits(self, tokens: int) -> bool:
        return self._cache.fits(tokens)

    def predict(self, body: dict[str, Any]) -> Any:
        raise BadInput("This version answers chat and completions; /invocations is for models of another kind.")

    def stream(
        self, prompt: Prompt, options: Options, stopped: Callable[[], bool]
    ) -> Iterator[Piece | End | Done | None]:
        tokens = self._tokens(prompt)
        room = check_room(len(tokens), self._runtime.context_length)
        limit = min(options.max_tokens, room)
        seed = secrets.randbelow(2**31) if options.seed in (None, -1) else options.seed or 0
        constraint = self._guidance.follow(options.json_schema) if options.json_schema else None
        cached, shared = self._cache.acquire(tokens, len(tokens) + limit, options.prompt_cache_key)
        count, sound = 0, False
        try:
            if not shared and not self._runtime.slots:
                yield None  # others first: clearing a large KV cache takes long by itself
            yield from self._read(cached, tokens, shared, stopped)
            for index in range(options.n):
                if index and not stopped():  # the same prompt again, for another answer
                    cached.sequence.rewind(len(tokens) - 1)
                    cached.sequence.append_one(int(tokens[-1]))
                    constraint = self._guidance.follow(options.json_schema) if options.json_schema else None
                sampler = Sampler(options, tokens, seed + index)
                count += yield from self._answer(cached, sampler, options, limit, index, stopped, constraint)
            sound = True
        except GeneratorExit:
            sound = True  # closed between two tokens
            raise
        finally:
            (self._cache.release if sound else self._cache.discard)(cached)
        yield Done(len(tokens), count, shared)

    def echo(
        self, prompts: list[Prompt], options: Options, stopped: Callable[[], bool]
    ) -> Iterator[Piece | End | Done | None]:
        asked: list[Tokens] = []
        encoded = 0
        for prompt in prompts:
            asked += [self._tokens(prompt)] * options.n
            encoded += len(asked[-1])
            if encoded >= _ENCODED:
                encoded = 0
                yield None
        limits = [min(options.max_tokens, check_room(len(tokens), self.context_length)) for tokens in asked]
        seed = secrets.randbelow(2**31) if options.seed in (None, -1) else options.seed or 0
        need = max(len(tokens) + limit for tokens, limit in zip(asked, limits, strict=True))
        held: list[CachedSequence] = []
        count = 0
        try:
            rows = min(self._runtime.rows if self._reader.grain == 1 else 1, len(asked))
            for _ in range(self._cache.most_rows(need, rows)):
                held.append(self._cache.hold(need, self._runtime.row))
            scorer = PromptScorer(self._runtime, self._reader.grain, options.logprobs)
            for batch in scorer.read([one.sequence for one in held], asked, stopped):
                yield None
                answers = []
                for index, row, told in batch or ():
                    prompt, tokens = prompts[index // options.n], asked[index]
                    yield Piece(self._shown(prompt), index, told)
                    if limits[index]:
                        held[row].sequence.append_one(int(tokens[-1]))
                    sampler = Sampler(options, tokens, seed + index % options.n)
                    constraint = self._guidance.follow(options.json_schema) if options.json_schema else None
                    more = (held[row], sampler, options, limits[index], index, stopped, constraint)
                    answers.append(self._answer(*more))
                count += yield from in_turn(answers)
        finally:
            for one in held:
                self._cache.discard(one)
        yield Done(sum(map(len, asked[:: options.n])), count)

    def _shown(self, prompt: Prompt) -> str:
        """A prompt as text."""
        return (
            prompt if isinstance(prompt, str) else "".join(map(self._runtime.decoder(), self._tokens(prompt).tolist()))
        )

    def read_ahead(self, prompt: Prompt, options: Options) -> Generator[None, None, None]:
        tokens = self._tokens(prompt)
        # A question comes before the next answer: a conversation outgrows its sequence now, while there is no request.
        need = min(len(tokens) + _QUESTION + options.max_tokens, self.context_length)
        if self._reader.grain > 1 or len(tokens) >= self.context_length or not self._cache.fits(need):
            return  # where pieces matter, the prompt that was answered would lose its own reading of itself
        cached, shared = self._cache.acquire(tokens, need, options.prompt_cache_key)
        sound = False
        try:
            if len(tokens) - shared > 1:  # one token alone is read differently
                yield from self._reader.read(cached, tokens, shared, len(tokens), lambda: True)  # a request may come
            sound = True
        except GeneratorExit:
            sound = True  # between two pieces
            raise
        finally:
            (self._cache.release if sound else self._cache.discard)(cached)

    def _read(self, cached: CachedSequence, tokens: Tokens, start: int, stopped: Callable[[], bool]) -> Iterator[None]:
        """Bring the sequence to the end of the prompt, in pieces; the last token alone."""
        last = len(tokens) - 1
        if stopped():
            return
        for _ in self._reader.read(cached, tokens, start, last, lambda: self._cache.others_write(cached)):
            yield None
            if stopped():
                return
        cached.sequence.append_one(int(tokens[last]))
        cached.tokens, cached.complete, cached.answered = tokens, True, len(tokens)

    def _answer(
        self,
        cached: CachedSequence,
        sampler: Sampler,
        options: Options,
        limit: int,
        index: int,
        stopped: Callable[[], bool],
        constraint: Constraint | None,
    ) -> Generator[Piece | End | None, None, int]:
        """One answer. Returns how many tokens it has."""
        decode, cut = self._runtime.decoder(), StopFilter(options.stop)
        reason, count, logprobs = "length", 0, []
        while count < limit and not stopped():
            logits = cached.sequence.logits()
            raw = logits.copy() if options.logprobs is not None else None
            if constraint:
                constraint.apply(logits)
            token = sampler.pick(logits)
            count += 1
            complete = constraint.take(token) if constraint else False
            if token in self._runtime.eos:
                reason = "stop"
                break
            if raw is not None:
                logprobs.append(self._token_of(raw, token, options.logprobs or 0))
            ready = cut.push(decode(token))
            over = cut.found or complete
            if count < limit and not over:
                cached.sequence.append_one(token)  # before the others' turn, so that it is computed with theirs
            if ready or (logprobs and not cut.held):
                yield Piece(ready, index, tuple(logprobs))
                logprobs = []
            else:
                yield None
            if over:
                reason = "stop"
                break
        if rest := cut.rest():
            yield Piece(rest, index, tuple(logprobs))
        yield End("stop" if stopped() else reason, index)
        return count

    def _token_of(self, raw: np.ndarray[Any, Any], token: int, top: int) -> Token:
        text = self._runtime.text_of
        own, likeliest = log_probabilities(raw, token, top)
        return Token(text(token), own, tuple((text(one), log) for one, log in likeliest))

    @cached_property
    def _guidance(self) -> Guidance:
        from .guidance import Guidance

        runtime = self._runtime
        return Guidance(runtime.tokenizer_json(), runtime.vocabulary, min(runtime.eos))
