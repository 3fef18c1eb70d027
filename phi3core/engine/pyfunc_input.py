"""What an MLflow model that our wrappers did not make takes as input, read off its signature and metadata.

Nothing of the model's own is loaded or run here, but for the type hints of a model that has no signature.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields, is_dataclass
from typing import TYPE_CHECKING, Any, Literal, get_args, get_origin, get_type_hints

from phi3core.errors import BadInput

from .interface import Messages, Options

if TYPE_CHECKING:
    from mlflow.models import Model

# What MLflow notes of ChatModel, a chat pipeline, ChatAgent and ResponsesAgent, and where their messages go.
_TASKS = {
    "agent/v1/chat": "messages",
    "llm/v1/chat": "messages",
    "agent/v2/chat": "messages",
    "agent/v1/responses": "input",
}
_MESSAGE = {"role", "content"}
Row = Literal["", "message", "conversation", "object"]
# How models name our options, where it is not the same name.
_NAMES = {"max_tokens": ("max_tokens", "max_new_tokens", "max_output_tokens", "max_completion_tokens")}
# A pipeline of mlflow.transformers has these columns too, but fails on them or looks its tokenizer up in the hub.
_BROKEN_IN_PIPELINES = {"stop", "n", "presence_penalty", "frequency_penalty"}
_TEMPERATURE_LEAST = 1e-3


class RequestedOptions(Options):
    """Options that know which of them a request names; a model keeps its own defaults for the others."""

    requested: frozenset[str] = frozenset()

    def but(self, **changes: Any) -> Options:
        changed = super().but(**changes)
        named = {name for name, value in changes.items() if value is not None}
        object.__setattr__(changed, "requested", self.requested | named)
        return changed


@dataclass(frozen=True)
class InputSpec:
    """How a model takes a conversation or a text, and options.

    chat: as interface.Engine has it. field: the input column that takes the messages or the text, None for the only
    one, which has no name. tensor: numpy's type of that input, where it is a tensor. columns, params: our options
    that the model takes beside it or as parameters, with its own names for them. pipeline: logged by
    mlflow.transformers. row: what one row of the input is, as the type hints of a PythonModel say; "" without any.
    make: makes a message of its role and content, where the hints name a class that MLflow makes none of.
    """

    chat: Literal["messages", "prompt", "none"]
    field: str | None = None
    tensor: Any = None
    columns: tuple[tuple[str, str], ...] = ()
    params: tuple[tuple[str, str], ...] = ()
    pipeline: bool = False
    row: Row = ""
    make: Callable[..., Any] | None = None

    @property
    def supports(self) -> frozenset[str]:
        """`n` is the engine's own doing: it asks again."""
        if self.chat == "none":
            return frozenset()
        return frozenset({"n", *(ours for ours, _ in self.columns), *(ours for ours, _ in self.params)})

    def build_input(self, question: str | Messages, options: Options) -> tuple[Any, dict[str, Any] | None]:
        """What `predict` and `predict_stream` take: the data and the parameters."""
        values = _values(options, self.supports)
        if self.pipeline and (values.get("temperature", 1) < _TEMPERATURE_LEAST or values.get("top_p") == 0):
            values = {name: value for name, value in values.items() if name != "top_p"} | _greedy(dict(self.columns))
        params = {theirs: values[ours] for ours, theirs in self.params if ours in values}
        return self._data(question, values), params or None

    def _data(self, question: str | Messages, values: dict[str, Any]) -> Any:
        if self.tensor is not None:
            import numpy as np

            shape = (1,) * max(len(self.tensor.shape), 1)
            array = np.array([question], dtype=object if self.tensor.type.kind == "O" else None).reshape(shape)
            return array if self.field is None else {self.field: array}
        if self.row == "message":
            return [self.make(**message) if self.make else message for message in question]  # type: ignore[arg-type]
        if self.row == "object":
            return [{str(self.field): question} | self._beside(values)]
        if self.field is None:
            return [question]
        # A bare string: of a list MLflow would make one row that holds a list.
        return {self.field: question} | self._beside(values)

    def _beside(self, values: dict[str, Any]) -> dict[str, Any]:
        return {theirs: values[ours] for ours, theirs in self.columns if ours in values}


def read_input_spec(model: Model) -> InputSpec:
    """The input of a model, by its signature and metadata."""
    signature, metadata = model.signature, model.metadata or {}
    pipeline = "transformers" in model.flavors
    inputs = signature.inputs.inputs if signature and signature.inputs is not None else []
    if metadata.get("task") in _TASKS:
        field: str | None = _TASKS[metadata["task"]]
    elif hinted := _hinted_spec(signature, inputs):
        return hinted
    elif len(found := [column for column in inputs if _takes_messages(column)]) == 1 and _alone(found[0], inputs):
        field = found[0].name
    else:
        return _prompt_spec(signature, inputs, pipeline)
    return InputSpec("messages", field, None, *_options(signature, inputs, field, pipeline), pipeline)


def read_hinted_class(python_model: Any) -> InputSpec | None:
    """The input of a PythonModel whose hints name a list of messages that MLflow takes no signature from.

    Such as ``predict(self, model_input: list[ChatMessage])``, a dataclass of MLflow's; None for any other.
    """
    try:
        hints = get_type_hints(type(python_model).predict)
    except Exception:  # the hints are the model's own code, and may name what is not there
        return None
    hint = hints.get("model_input")
    kinds = get_args(hint) if get_origin(hint) is list else ()
    if len(kinds) == 1 and is_dataclass(kinds[0]) and {field.name for field in fields(kinds[0])} >= _MESSAGE:
        return InputSpec("messages", row="message", make=kinds[0])  # type: ignore[arg-type]
    return None


def default_options(model: Model, spec: InputSpec) -> Options:
    """The model's own defaults where its parameters tell them; elsewhere what changes nothing."""
    options = RequestedOptions(temperature=1.0, top_p=1.0)
    schema = model.signature.params if model.signature else None
    given = {param.name: param.default for param in schema.params} if schema else {}
    for ours, theirs in spec.params:
        default = given[theirs]
        try:
            options = options.but(**{ours: tuple(default) if ours == "stop" else default})  # type: ignore[assignment]
        except (BadInput, TypeError):
            continue  # a value of its own that means “off”, such as a top_k of 0
    object.__setattr__(options, "requested", frozenset())
    return options


def _hinted_spec(signature: Any, inputs: list[Any]) -> InputSpec | None:
    """The input of a PythonModel by its type hints, of which MLflow makes a single input without a name.

    ``list[Message]`` and ``list[dict[str, str]]``: each row is a message. ``list[list[Message]]``: each is a
    conversation. ``list[Request]``: each is an object whose only required property holds messages.
    """
    from mlflow.types.schema import Array, Map, Object

    if len(inputs) != 1 or inputs[0].name is not None or hasattr(inputs[0], "shape"):
        return None
    row = inputs[0].type
    if _is_message(row) or (isinstance(row, Map) and _holds_text(row.value_type)):
        return InputSpec("messages", params=_options(signature, [], None, False)[1], row="message")
    if isinstance(row, Array) and _is_message(row.dtype):
        return InputSpec("messages", params=_options(signature, [], None, False)[1], row="conversation")
    if isinstance(row, Object):
        parts = row.properties
        found = [part for part in parts if isinstance(part.dtype, Array) and _is_message(part.dtype.dtype)]
        if len(found) == 1 and _alone(found[0], parts):
            options = _options(signature, parts, found[0].name, False)
            return InputSpec("messages", found[0].name, None, *options, row="object")
    return None


def _prompt_spec(signature: Any, inputs: list[Any], pipeline: bool) -> InputSpec:
    found = [column for column in inputs if _is_text(column)]
    required = [column for column in found if getattr(column, "required", True)] or found
    if len(required) != 1 or not _alone(required[0], inputs):
        return InputSpec("none")
    column = required[0]
    tensor = column if hasattr(column, "shape") else None
    return InputSpec("prompt", column.name, tensor, *_options(signature, inputs, column.name, pipeline), pipeline)


def _options(signature: Any, inputs: list[Any], field: str | None, pipeline: bool) -> tuple[Any, Any]:
    """Our options among the optional columns and among the parameters, each with the model's own name."""
    params = {param.name: param for param in signature.params.params} if signature and signature.params else {}
    columns = {column.name for column in inputs if column.name != field and not hasattr(column, "shape")}
    in_params, in_columns = [], []
    for ours in Options.__dataclass_fields__:
        if ours in ("n", "logprobs", "json_schema") or (pipeline and ours in _BROKEN_IN_PIPELINES):
            continue
        for theirs in _NAMES.get(ours, (ours,)):
            if theirs in params and (ours == "stop") == bool(params[theirs].shape):
                in_params.append((ours, theirs))
                break
            if theirs in columns:
                in_columns.append((ours, theirs))
                break
    return tuple(in_columns), tuple(in_params)


def _values(options: Options, supported: frozenset[str]) -> dict[str, Any]:
    """What to tell the model: what was requested, and always the limit, so that reaching it is noticed."""
    requested = options.requested if isinstance(options, RequestedOptions) else frozenset(Options.__dataclass_fields__)
    named = [name for name in supported & (requested | {"max_tokens"}) if getattr(options, name) is not None]
    values = {name: getattr(options, name) for name in named}
    if values.get("seed") == -1:
        del values["seed"]
    if "top_k" in values:
        values["top_k"] = max(values["top_k"], 0)  # others know no -1
    return values | ({"stop": list(options.stop)} if "stop" in values else {})


def _greedy(columns: dict[str, str]) -> dict[str, Any]:
    """Transformers refuses a temperature of 0: the likeliest token always, or as good as."""
    if "top_k" in columns:
        return {"temperature": 1.0, "top_k": 1}
    return {"temperature": _TEMPERATURE_LEAST}


def _alone(column: Any, inputs: list[Any]) -> bool:
    return not any(getattr(other, "required", True) for other in inputs if other is not column)


def _takes_messages(column: Any) -> bool:
    """Whether a column is a list of objects with a role and a content."""
    inner = getattr(getattr(column, "type", None), "dtype", None)  # Array's element
    return column.name is not None and _is_message(inner)


def _holds_text(kind: Any) -> bool:
    from mlflow.types import DataType
    from mlflow.types.schema import AnyType

    return kind == DataType.string or isinstance(kind, AnyType)


def _is_message(kind: Any) -> bool:
    """Whether a type of MLflow's is an object with a role and a content."""
    return {part.name for part in getattr(kind, "properties", [])} >= _MESSAGE


def _is_text(column: Any) -> bool:
    from mlflow.types import DataType

    if hasattr(column, "shape"):
        return column.type.kind in "OUS" and all(size in (-1, 1) for size in column.shape)
    return bool(column.type == DataType.string)
