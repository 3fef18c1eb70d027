"""The answers to one request as they come from the worker: to one prompt or to several, whole or as events."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import replace

from phi3core.engine.interface import Done, End, Options, Piece, Prompt
from phi3core.errors import Busy, Phi3Error
from phi3core.serving.protocol import error_body, sse_event

from .responses import AnswerFormat, Choice
from .worker import AnswerStream, Item, Worker

_TRY_AGAIN = 0.1  # seconds


class AnswersInTurn:
    """The answers to several prompts, one prompt after the other, numbered on; one Done counts for all.

    first: the answer to the first prompt, which is running. more: asks for the others' when their turn comes, and
    raises Busy while no more requests can wait.
    """

    def __init__(self, first: AnswerStream, more: list[Callable[[], AnswerStream]], n: int) -> None:
        self._answer, self._more, self._n = first, more[::-1], n
        self._offset, self._done = 0, Done(0, 0)

    def __aiter__(self) -> AnswersInTurn:
        return self

    async def __anext__(self) -> list[Item]:
        items = [self._numbered(item) for item in await anext(self._answer)]
        if isinstance(items[-1], Done) and self._more:
            items.pop()
            self._offset += self._n
            self._answer = await self._next(self._more.pop())
            return items if items else await anext(self)
        return items

    async def aclose(self) -> None:
        self._more.clear()
        await self._answer.aclose()

    def _numbered(self, item: Item) -> Item:
        if not isinstance(item, Done):
            return replace(item, index=item.index + self._offset)
        self._done = Done(
            self._done.prompt_tokens + item.prompt_tokens,
            self._done.completion_tokens + item.completion_tokens,
            self._done.cached_tokens + item.cached_tokens,
            self._done.counted and item.counted,
        )
        return self._done

    async def _next(self, ask: Callable[[], AnswerStream]) -> AnswerStream:
        while True:
            try:
                return ask()
            except Busy:  # of others' requests: this one was let in with its first prompt
                await asyncio.sleep(_TRY_AGAIN)


Answers = AnswerStream | AnswersInTurn


def answer_all(worker: Worker, prompts: list[Prompt], needs: list[int], options: Options) -> Answers:
    """Ask for the answers to these prompts; close them whatever becomes of them. Raises Busy as the worker does.

    needs: how many tokens of memory each takes.
    """
    if options.echo:
        return worker.echo(prompts, options, max(needs))
    first = worker.answer(prompts[0], options, needs[0])
    if len(prompts) == 1:
        return first

    def later(prompt: Prompt, need: int) -> Callable[[], AnswerStream]:
        return lambda: worker.answer(prompt, options, need)

    more = [later(prompt, need) for prompt, need in zip(prompts[1:], needs[1:], strict=True)]
    return AnswersInTurn(first, more, options.n)


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
    opened, text = -1, ""
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
                if item.index > opened:
                    opened = item.index
                    lines.append(form.first(opened))
                if isinstance(item, End):
                    lines.append(form.end(item.finish_reason, item.index))
                else:
                    text += item.text
                    lines.append(form.piece(item.text, item.index, item.tokens))
            yield "".join(lines)
    except Exception as error:  # the status is long sent: the error goes into the stream, as at OpenAI
        text = str(error) if isinstance(error, Phi3Error) else f"The model failed in mid-answer: {error}"
        yield sse_event(error_body(500, text))
