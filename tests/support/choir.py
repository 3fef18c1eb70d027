"""An engine that gives several answers, with probabilities and counts."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from phi3core.engine.interface import Done, End, Options, Piece, Prompt, Token
from tests.support.fakes import FakeEngine


class Choir(FakeEngine):
    """Gives as many answers as asked for, each numbered, with probabilities, and has kept five tokens."""

    def stream(
        self, prompt: Prompt, options: Options, stopped: Callable[[], bool]
    ) -> Iterator[Piece | End | Done | None]:
        self.asked.append(options)
        self.prompts.append(prompt)
        for index in range(options.n):
            words = (str(index), *self.words)[: options.max_tokens]
            for word in words:
                told = (_token(word, options.logprobs),) if options.logprobs is not None else ()
                yield Piece(word, index, told)
            yield End("length" if index else "stop", index)
        yield Done(len(prompt), options.n * len(words), 5)


def _token(word: str, top: int) -> Token:
    return Token(word, -0.25, ((word, -0.25), (word.upper(), -2.0), (word * 2, -3.0))[:top])
