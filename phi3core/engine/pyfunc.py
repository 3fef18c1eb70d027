"""Drives any MLflow model that our wrappers did not make, through MLflow's pyfunc.

Such a model brings its own code: whatever that does, an answer fails with a sentence and the server lives on. How it
is asked stands in pyfunc_input.py, what it may answer in pyfunc_output.py.
"""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from phi3core.errors import BadInput, ServerError

from .interface import NO_CHAT, Done, End, Messages, Options, Piece, Prompt, check_messages, only_text
from .pyfunc_input import default_options, read_hinted_class, read_input_spec
from .pyfunc_model import error_line, iterate_chunks, load_model, translate_errors
from .pyfunc_output import AnswerReader

if TYPE_CHECKING:
    from mlflow.models import Model

_TABLES = ("inputs", "instances", "dataframe_split", "dataframe_records")
_MESSAGES = ("messages", "prompt", "input")


class PyfuncEngine:
    """See interface.Engine. folder: a logged model's, the one that holds MLmodel.

    Raises SourceError for a model that can't be loaded, or one stored as a pickle while
    MLFLOW_ALLOW_PICKLE_DESERIALIZATION is false. `stream` and `predict` raise ServerError when the model fails.
    """

    context_length: int | None = None

    def __init__(self, folder: Path) -> None:
        self._model = load_model(folder)
        self._folder = folder
        metadata = self._model.metadata
        with translate_errors(folder, loading=True):  # a file of its author's, too
            self._spec = read_input_spec(metadata)
            if metadata.signature is None and "model_code_path" in metadata.flavors["python_function"]:
                python_model: Any = self._model.unwrap_python_model()  # type: ignore[no-untyped-call]
                self._spec = read_hinted_class(python_model) or self._spec
            # By type hints MLflow makes objects for `predict` alone: `predict_stream` would get the first row as it is.
            streamable = metadata.flavors["python_function"].get("streamable")
            self._streams = bool(streamable) and not self._spec.row
            self.options: Options = default_options(metadata, self._spec)
            self.signature: dict[str, Any] | None = _signature(metadata)
        self.chat: Literal["messages", "prompt", "none"] = self._spec.chat
        self.supports: frozenset[str] = self._spec.supports
        self.batched, self.exact = False, True

    def prepare(self, messages: Messages) -> Prompt:
        """The messages, or the one text. Raises BadInput for what this model can't be asked."""
        if self.chat == "none":
            raise BadInput(NO_CHAT)
        check_messages(messages)
        if self.chat == "messages":
            return messages
        return only_text(messages)

    def count(self, prompt: Prompt) -> int | None:
        return None

    def check(self, prompt: Prompt, options: Options) -> int:
        if self.chat == "none":
            raise BadInput(NO_CHAT)
        if isinstance(prompt, tuple):
            raise BadInput("This model takes text and no token ids.")
        if isinstance(prompt, str) == (self.chat == "messages"):
            wanted = "messages: ask it through /v1/chat/completions" if self.chat == "messages" else "one text"
            raise BadInput(f"This model takes {wanted}.")
        if isinstance(prompt, str) and not prompt.strip():
            raise BadInput("The prompt is empty: write something for the model to answer.")
        return 0

    def fits(self, tokens: int) -> bool:
        return True

    def stream(self, prompt: Prompt, options: Options, stopped: Callable[[], bool]) -> Iterator[Piece | End | Done]:
        self.check(prompt, options)
        assert not isinstance(prompt, tuple)  # check refuses token ids
        prompt_tokens = completion_tokens = 0
        counted = False
        for index in range(options.n):
            reader = AnswerReader(_as_json if self.chat == "prompt" else None)
            if not stopped():
                texts = self._ask(prompt, options, reader)
                try:
                    for text in texts:
                        if stopped():
                            break
                        if text:
                            yield Piece(text, index)
                finally:
                    texts.close()
            prompt_tokens = max(prompt_tokens, reader.prompt_tokens)
            completion_tokens += reader.completion_tokens
            counted = counted or reader.counted
            yield End(self._reason(reader, options), index)
        yield Done(prompt_tokens, completion_tokens, counted=counted)

    def echo(
        self, prompts: list[Prompt], options: Options, stopped: Callable[[], bool]
    ) -> Iterator[Piece | End | Done | None]:
        raise BadInput("This model does not support echo: leave it out.")  # MLflow's models tell no probabilities

    def read_ahead(self, prompt: Prompt, options: Options) -> Generator[None, None, None]:
        yield from ()  # MLflow's models keep nothing between two calls

    def predict(self, body: dict[str, Any]) -> Any:
        """MLflow's answer to a body for its /invocations. Raises BadInput for one that does not fit the signature.

        Chat and completion bodies are answered as they are, every other one under ``predictions``.
        """
        from mlflow.pyfunc import scoring_server

        bare = any(name in body for name in _MESSAGES)
        if not bare and sum(name in body for name in _TABLES) != 1:
            raise BadInput(
                f"The request must hold exactly one of {', '.join(_TABLES)}, or one of {', '.join(_MESSAGES)}; "
                f"it holds {', '.join(body) or 'nothing'}."
            )
        metadata = self._model.metadata
        with _asking():
            schema = metadata.get_input_schema()  # type: ignore[no-untyped-call]
            parsed = scoring_server._parse_json_data(dict(body), metadata, schema)  # type: ignore[no-untyped-call]
        with translate_errors(self._folder):
            answer = self._model.predict(parsed.data, params=parsed.params)
        return _jsonable(answer, bare)

    def _ask(self, prompt: str | Messages, options: Options, reader: AnswerReader) -> Generator[str, None, None]:
        """The texts of one answer as they come."""
        if self._streams:
            begun = False
            try:
                for text in self._pieces(prompt, options, reader):
                    begun = True
                    yield text
                return
            except ServerError as error:
                if begun or not isinstance(error.__cause__, NotImplementedError):
                    raise
                self._streams = False  # it was logged as one that streams, and has no code for it
        data, params = self._spec.build_input(prompt, options)
        with translate_errors(self._folder):
            answer = self._model.predict(data, params=params)
        yield reader.read(answer)

    def _pieces(self, prompt: str | Messages, options: Options, reader: AnswerReader) -> Iterator[str]:
        chunks = iterate_chunks(
            lambda: self._model.predict_stream(*self._spec.build_input(prompt, options)), self._folder
        )
        try:
            for chunk in chunks:
                yield reader.read_chunk(chunk)
        finally:
            chunks.close()
        reader.close()

    def _reason(self, reader: AnswerReader, options: Options) -> str:
        """MLflow's chat pipeline says “stop” of an answer that ran into the limit, too."""
        limited = "max_tokens" in self.supports and reader.completion_tokens >= options.max_tokens
        return "length" if limited and reader.finish_reason == "stop" else reader.finish_reason


def _signature(model: Model) -> dict[str, Any] | None:
    """Inputs, outputs and params as lists of dicts, each None where the model tells none."""
    signature = model.signature
    if signature is None:
        return None
    parts = {"inputs": signature.inputs, "outputs": signature.outputs, "params": signature.params}
    return {name: json.loads(json.dumps(part.to_dict())) if part is not None else None for name, part in parts.items()}


@contextmanager
def _asking() -> Iterator[None]:
    """Turn what MLflow says of a body into BadInput."""
    from mlflow.exceptions import MlflowException

    try:
        yield
    except (MlflowException, ValueError, TypeError, KeyError, AttributeError) as error:
        raise BadInput(f"The request can't be read: {error_line(error).partition('. IMPORTANT')[0]}.") from error


def _as_json(answer: Any) -> str:
    """An answer to one text that is none: a label with its score, a number, a table."""
    data = _jsonable(answer, bare=False)["predictions"]
    if isinstance(data, list) and len(data) == 1:
        (data,) = data
    return json.dumps(data, indent=2, ensure_ascii=False)


def _jsonable(answer: Any, bare: bool) -> Any:
    """As MLflow writes it, with null for what JSON has no number for. Raises ServerError for what is no data."""
    from mlflow.pyfunc import scoring_server

    text = io.StringIO()
    write: Any = scoring_server.unwrapped_predictions_to_json if bare else scoring_server.predictions_to_json
    try:
        write(answer, text)
    except (TypeError, ValueError, OverflowError) as error:
        raise ServerError(
            f"The model's answer can't be written as JSON: it is of type {type(answer).__name__}."
        ) from error
    return json.loads(text.getvalue(), parse_constant=lambda _: None)
