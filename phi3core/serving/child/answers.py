"""The answers to one request as they come from the worker: to one prompt or to several, whole or as events."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, replace
from functools import partial

from phi3core.engine.interface import Done, End, Options, Piece, Prompt
from phi3core.errors import Busy, Phi3Error
from phi3core.serving.protocol import error_body, sse_event

from .responses import AnswerFormat, Choice
from .worker import AnswerStream, Item, Worker

_TRY_AGAIN = 0.1  # seconds


Ask = Callable[[], AnswerStream]


@dataclass(frozen=True)
class Part:
    """One of the answers to a request. ask: has it written, and raises Busy while no more requests can wait.

    index: of the first choice that it gives. follows: it begins when the part before it has read the same prompt, which
    is counted there.
    """

    ask: Ask
    index: int
    follows: bool = False


class AnswersTogether:
    """The parts of one request's answer as one stream, numbered on; one Done counts for all.

    first: of the first part, which is running. at_once: how many parts are written at the same time.
    """

    def __init__(self, first: AnswerStream, parts: list[Part], at_once: int) -> None:
        self._first, self._left = first, deque(parts)
        self._results: asyncio.Queue[Item | Exception] = asyncio.Queue()
        self._read = [asyncio.Event() for _ in parts]
        self._done, self._open = Done(0, 0), len(parts)
        self._writers = [asyncio.create_task(self._write()) for _ in range(min(at_once, len(parts)))]

    def __aiter__(self) -> AnswersTogether:
        return self

    async def __anext__(self) -> list[Item]:
        if not self._open:
            raise StopAsyncIteration
        results = [await self._results.get()]
        while not self._results.empty():
            results.append(self._results.get_nowait())
        items: list[Item] = []
        for result in results:
            if isinstance(result, Exception):
                raise result
            if not isinstance(result, Done):
                items.append(result)
                continue
            self._done, self._open = _sum(self._done, result), self._open - 1
            if not self._open:
                items.append(self._done)
        return items if items else await anext(self)

    async def aclose(self) -> None:
        self._left.clear()
        for writer in self._writers:
            writer.cancel()
        await asyncio.gather(*self._writers, return_exceptions=True)
        await self._first.aclose()  # where no writer has begun

    async def _write(self) -> None:
        """Have one part after the other written, until none is left."""
        while self._left:
            at = len(self._read) - len(self._left)
            part = self._left.popleft()
            try:
                await self._write_part(part, at)
            except Exception as error:  # it ends the request: its reader has it
                self._results.put_nowait(error)
                return
            finally:
                self._read[at].set()

    async def _write_part(self, part: Part, at: int) -> None:
        if part.follows:
            await self._read[at - 1].wait()
        answer = self._first if at == 0 else await self._asked(part.ask)
        try:
            async for items in answer:
                self._read[at].set()
                for item in items:
                    if not isinstance(item, Done):
                        self._results.put_nowait(replace(item, index=item.index + part.index))
                    elif part.follows:
                        self._results.put_nowait(replace(item, prompt_tokens=0, cached_tokens=0))
                    else:
                        self._results.put_nowait(item)
        finally:
            await answer.aclose()

    async def _asked(self, ask: Ask) -> AnswerStream:
        while True:
            try:
                return ask()
            except Busy:  # of others' requests: this one was let in with its first part
                await asyncio.sleep(_TRY_AGAIN)


def _sum(one: Done, other: Done) -> Done:
    return Done(
        one.prompt_tokens + other.prompt_tokens,
        one.completion_tokens + other.completion_tokens,
        one.cached_tokens + other.cached_tokens,
        one.counted and other.counted,
    )


Answers = AnswerStream | AnswersTogether


def answer_all(worker: Worker, prompts: list[Prompt], needs: list[int], options: Options) -> Answers:
    """Ask for the answers to these prompts; close them whatever becomes of them. Raises Busy as the worker does.

    Where the model writes several answers in one step, they are written together, else one after the other.

    Args:
        needs: how many tokens of memory each takes.
    """
    if options.echo:
        return worker.echo(prompts, options, max(needs))
    together = worker.engine.batched
    parts: list[Part] = []
    for at, (prompt, need) in enumerate(zip(prompts, needs, strict=True)):
        for number in range(options.n if together else 1):
            own = _one_of(options, number) if together else options
            ask = partial(worker.answer, prompt, own, need)
            parts.append(Part(ask, at * options.n + number, follows=number > 0))
    first = parts[0].ask()
    return AnswersTogether(first, parts, worker.parallel if together else 1) if len(parts) > 1 else first


def _one_of(options: Options, number: int) -> Options:
    """The options of one of `n` answers, which an engine that is asked for all of them gives it, too."""
    seed = options.seed if options.seed in (None, -1) else (options.seed or 0) + number
    return replace(options, n=1, seed=seed)


async def collect(answer: AsyncIterator[list[Item]], n: int) -> tuple[list[Choice], Done]:
    """The whole of `n` answers."""
    choices = [Choice() for _ in range(n)]
    done = Done(0, 0)
    async for items in answer:
        for item in items:
            match item:
                case Piece():
                    choices[item.index].text += item.text
                    choices[item.index].tokens += item.tokens
                case End():
                    choices[item.index].finish_reason = item.finish_reason
                case Done():
                    done = item
    return choices, done


async def write_events(
    answer: AsyncIterator[list[Item]], form: AnswerFormat, on_done: Callable[[str], None]
) -> AsyncIterator[str]:
    """Answers as they come, as server-sent events. on_done: called with the text when all is said."""
    opened, text = set[int](), ""
    try:
        async for items in answer:
            lines = []
            for item in items:
                if isinstance(item, Done):
                    if form.with_usage:
                        lines.append(form.usage(item))
                    lines.append("data: [DONE]\n\n")
                    on_done(text)
                    continue
                if item.index not in opened:
                    opened.add(item.index)
                    lines.append(form.first(item.index))
                if isinstance(item, End):
                    lines.append(form.end(item.finish_reason, item.index))
                else:
                    text += item.text
                    lines.append(form.piece(item.text, item.index, item.tokens))
            yield "".join(lines)
    except Exception as error:  # the status is long sent: the error goes into the stream, as at OpenAI
        text = str(error) if isinstance(error, Phi3Error) else f"The model failed in mid-answer: {error}"
        yield sse_event(error_body(500, text))
