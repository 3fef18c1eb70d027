"""What every engine offers, and the data that it takes and gives: options, tokens, pieces of answers.

Imports no engine, so that clients of a model server may use the same options.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass, replace
from typing import Any, Literal, Protocol

from phi3core.errors import BadInput, ContextFull, OptionError

# True on the app's port too, where there is no /invocations.
NO_CHAT = (
    "This model can't be chatted with: its signature takes neither messages nor one text. Use the JSON form on the "
    "app's Chat page, or “mlflow models serve”, which takes its inputs at /invocations."
)
Messages = list[dict[str, str]]
TokenIds = tuple[int, ...]
"""A prompt as the ids of its tokens."""
Prompt = str | Messages | TokenIds


@dataclass(frozen=True)
class Options:
    """Generation options under OpenAI's names (top_k, min_p and repetition_penalty are Hugging Face's).

    temperature 0 decodes greedily. top_p 0 leaves the likeliest token alone; top_k 0 or -1 leaves all of them. min_p: a
    token less likely than this part of the likeliest one is never drawn. seed None or -1 draws a new one each time.
    max_tokens is cut to what the context still holds. presence_penalty and frequency_penalty count the answer's tokens,
    repetition_penalty the prompt's too. logprobs: how many likeliest alternatives to tell with each token; None tells
    no probabilities. json_schema: a JSON schema, as text, that the answer must follow. prompt_cache_key: a name for the
    conversation, which finds what is kept of it; changes no answer. echo: the answer begins with the prompt, and
    max_tokens may be 0.
    """

    max_tokens: int = 300
    temperature: float = 0.2
    top_p: float = 0.9
    top_k: int = 50
    min_p: float = 0.0
    repetition_penalty: float = 1.0
    seed: int | None = None
    stop: tuple[str, ...] = ()
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    n: int = 1
    logprobs: int | None = None
    json_schema: str | None = None
    prompt_cache_key: str = ""
    echo: bool = False

    def but(self, **changes: Any) -> Options:
        """These options with every change that is not None. Raises OptionError for values out of range."""
        changed = replace(self, **{name: value for name, value in changes.items() if value is not None})
        checks = (
            ("max_tokens", changed.max_tokens >= (0 if changed.echo else 1), "at least 1"),
            ("temperature", 0 <= changed.temperature <= 2, "between 0 and 2"),
            ("top_p", 0 <= changed.top_p <= 1, "between 0 and 1"),
            ("top_k", changed.top_k >= -1, "at least 1, or 0 or -1 for all tokens"),
            ("min_p", 0 <= changed.min_p <= 1, "between 0 and 1"),
            ("repetition_penalty", 0 < changed.repetition_penalty <= 2, "above 0 and at most 2"),
            ("seed", changed.seed is None or -(2**63) <= changed.seed < 2**63, "a whole number of at most 64 bits"),
            ("stop", len(changed.stop) <= 16 and all(changed.stop), "at most sixteen sequences, none of them empty"),
            ("presence_penalty", -2 <= changed.presence_penalty <= 2, "between -2 and 2"),
            ("frequency_penalty", -2 <= changed.frequency_penalty <= 2, "between -2 and 2"),
            ("n", 1 <= changed.n <= 8, "between 1 and 8"),
            ("top_logprobs", changed.logprobs is None or 0 <= changed.logprobs <= 20, "between 0 and 20"),
        )
        for name, fine, rule in checks:
            if not fine:
                raise OptionError(name, f"{name} must be {rule}.")
        return changed


# What every engine that samples by itself can do; an engine lists what it honours in `supports`.
ALL_OPTIONS = frozenset(Options.__dataclass_fields__)
# The values with which an option has no effect: accepted from a model that does not know it.
_WITHOUT_EFFECT: dict[str, tuple[Any, ...]] = {
    "temperature": (1.0,),
    "top_p": (1.0,),
    "top_k": (0, -1),
    "min_p": (0.0,),
    "repetition_penalty": (1.0,),
    "presence_penalty": (0.0,),
    "frequency_penalty": (0.0,),
    "seed": (-1,),
    "stop": ((), []),
    "n": (1,),
    "echo": (False,),
}

# What only shades an answer: left out where a model does not take it, and told. The rest would change what is asked.
SHADES = frozenset(
    {
        *("temperature", "top_p", "top_k", "min_p", "seed", "max_tokens"),
        *("repetition_penalty", "presence_penalty", "frequency_penalty"),
    }
)


def has_effect(option: str, value: object) -> bool:
    """Whether a model would answer otherwise without it."""
    return value is not None and value not in _WITHOUT_EFFECT.get(option, ())


@dataclass(frozen=True)
class Token:
    """One token: its text, the natural logarithm of its probability, the likeliest alternatives.

    NaN for a prompt's first token, which has nothing before it.
    """

    text: str
    logprob: float
    top: tuple[tuple[str, float], ...] = ()


@dataclass(frozen=True)
class Piece:
    """Text as it comes. index: which of the `n` answers. tokens: there where `logprobs` asked for them."""

    text: str
    index: int = 0
    tokens: tuple[Token, ...] = ()


@dataclass(frozen=True)
class End:
    """The end of one answer. finish_reason: ``stop`` (the model or a stop sequence ended it) or ``length``."""

    finish_reason: str
    index: int = 0


@dataclass(frozen=True)
class Done:
    """The end of all `n` answers. cached_tokens: how many of the prompt's were kept from earlier.

    counted: False where the model gives no counts and they can't be had otherwise: those here mean nothing then.
    """

    prompt_tokens: int
    completion_tokens: int
    cached_tokens: int = 0
    counted: bool = True


class Engine(Protocol):
    """One loaded model.

    chat: how it takes a conversation: ``template`` (rendered into a prompt), ``messages`` (as they are), ``prompt``
    (one text and no conversation) or ``none`` (only `predict`). context_length: tokens, None where it is unknown.
    supports: the names of the options that it honours. signature: MLflow's, as plain data, where there is one. batched:
    whether answers that are written at once are computed together; else they take turns. exact: whether each is then,
    to the last bit, the one that it is alone.
    stream, read_ahead and predict run in one thread; the others may be called meanwhile.
    """

    @property
    def chat(self) -> Literal["template", "messages", "prompt", "none"]: ...

    @property
    def context_length(self) -> int | None: ...

    options: Options

    @property
    def supports(self) -> frozenset[str]: ...

    @property
    def signature(self) -> dict[str, Any] | None: ...

    @property
    def batched(self) -> bool: ...

    @property
    def exact(self) -> bool: ...

    def prepare(self, messages: Messages) -> Prompt:
        """What `stream` takes for these OpenAI messages: the rendered prompt, or the messages. Raises BadInput."""

    def count(self, prompt: Prompt) -> int | None:
        """The prompt's length in tokens, whether or not there is room for it; None where it is unknown."""

    def check(self, prompt: Prompt, options: Options) -> int:
        """Raise BadInput for a request that can't be answered, such as a prompt that fills the context.

        Returns how many tokens of memory the answer needs, prompt included; 0 where it is unknown.
        """

    def fits(self, tokens: int) -> bool:
        """Whether the memory set aside for conversations holds one of so many tokens beside those that are running."""

    def stream(
        self, prompt: Prompt, options: Options, stopped: Callable[[], bool]
    ) -> Iterator[Piece | End | Done | None]:
        """Answer: pieces of text as they come, one End for each of the `n` answers, then one Done.

        None says that work was done and there is nothing to show yet, so that a caller with several streams can turn
        to another. Ends early, still with End and Done, once stopped() is true. Raises BadInput as `check` does.
        """

    def echo(
        self, prompts: list[Prompt], options: Options, stopped: Callable[[], bool]
    ) -> Iterator[Piece | End | Done | None]:
        """Answer several prompts together as `stream` does one; each answer begins with its prompt.

        With `logprobs` the prompt's tokens tell theirs. For engines whose `supports` names ``echo``.
        """

    def read_ahead(self, prompt: Prompt, options: Options) -> Generator[None, None, None]:
        """Read a prompt that no request holds yet, a piece at a step: the next turn begins with it.

        Changes no answer, only how soon it comes. Closing it keeps what was read.
        """

    def predict(self, body: dict[str, Any]) -> Any:
        """MLflow's /invocations: a request body in, predictions as plain data out. Raises BadInput."""


def check_room(prompt_tokens: int, context_length: int) -> int:
    """Tokens left for the answer. Raises BadInput for an empty prompt, ContextFull for a full context."""
    if prompt_tokens == 0:
        raise BadInput("The prompt is empty: write something for the model to answer.")
    if prompt_tokens >= context_length:
        raise context_full(f"{prompt_tokens:,}", context_length)
    return context_length - prompt_tokens


def context_full(prompt_tokens: str, context_length: int) -> ContextFull:
    """The error for a prompt of so many tokens, as it is to be said."""
    return ContextFull(
        f"The conversation has {prompt_tokens} tokens and the model's context holds {context_length:,}. "
        "Shorten it, or start a new conversation."
    )


def check_messages(messages: Messages) -> None:
    """Raise BadInput unless there is a message with something in it to answer."""
    if not messages or not messages[-1]["content"].strip():
        raise BadInput("The last message is empty: write something for the model to answer.")


def only_text(messages: Messages) -> str:
    """The one text for a model that knows no conversation, such as one without a chat template. Raises BadInput."""
    if len(messages) != 1 or messages[0]["role"] != "user":
        raise BadInput("This model takes one text and no conversation: send one message, with the role “user”.")
    return messages[0]["content"]


def template_refusal(error: Exception) -> BadInput:
    """What a chat template said of messages that it refuses, without its own text, which onnxruntime-genai adds."""
    said = re.split(r" at row \d+, column \d+:", str(error).strip())[0].strip().splitlines() or [type(error).__name__]
    return BadInput(f"The model's chat template does not accept these messages: {said[0][:300].rstrip('. ')}.")
