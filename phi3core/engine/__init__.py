"""Generation on the artifact of a version that our wrappers made; the model server drives it.

An engine knows one model and nothing of HTTP, MLflow's registry or conversations. Streaming is the
primitive: a whole answer is its join.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

from ..errors import BadInput, SourceError


@dataclass(frozen=True)
class Options:
    """Generation options under OpenAI's names (top_k and repetition_penalty are Hugging Face's).

    temperature 0 decodes greedily. seed None draws a new one each time. max_tokens is cut to what the
    context still holds.
    """

    max_tokens: int = 300
    temperature: float = 0.2
    top_p: float = 0.9
    top_k: int = 50
    repetition_penalty: float = 1.0
    seed: int | None = None
    stop: tuple[str, ...] = ()

    def but(self, **changes: Any) -> Options:
        """These options with every change that is not None. Raises BadInput for values out of range."""
        changed = replace(self, **{name: value for name, value in changes.items() if value is not None})
        checks = (
            ("max_tokens", changed.max_tokens >= 1, "at least 1"),
            ("temperature", 0 <= changed.temperature <= 2, "between 0 and 2"),
            ("top_p", 0 < changed.top_p <= 1, "above 0 and at most 1"),
            ("top_k", changed.top_k >= 1, "at least 1"),
            ("repetition_penalty", 0 < changed.repetition_penalty <= 2, "above 0 and at most 2"),
            ("seed", changed.seed is None or 0 <= changed.seed < 2**31, "between 0 and 2,147,483,647"),
            ("stop", len(changed.stop) <= 4 and all(changed.stop), "at most four sequences, none of them empty"),
        )
        for name, fine, rule in checks:
            if not fine:
                raise BadInput(f"{name} must be {rule}.")
        return changed


@dataclass(frozen=True)
class Done:
    """The end of an answer. finish_reason: ``stop`` (the model or a stop sequence ended it) or ``length``."""

    finish_reason: str
    prompt_tokens: int
    completion_tokens: int


class Engine(Protocol):
    """One loaded model. `stream` runs once at a time; `render` and `check` may be called meanwhile."""

    context_length: int
    options: Options

    def render(self, messages: list[dict[str, str]]) -> str:
        """The prompt that the model's own chat template makes of OpenAI messages. Raises BadInput."""

    def check(self, prompt: str) -> int:
        """The prompt's length in tokens. Raises BadInput for an empty prompt or one that fills the context."""

    def stream(self, prompt: str, options: Options, stopped: Callable[[], bool]) -> Iterator[str | Done]:
        """Pieces of text as they come, then one Done; ends early, still with Done, once stopped() is true.

        Raises BadInput as `check` does.
        """


def open_artifact(folder: Path) -> Engine:
    """Load the engine for a logged model's folder (the one that holds MLmodel).

    Raises SourceError where the folder holds no model of ours or its weights can't be loaded.
    """
    import yaml

    try:
        mlmodel = yaml.safe_load((folder / "MLmodel").read_text())
    except (OSError, yaml.YAMLError) as error:
        raise SourceError(f"{folder} is no logged model: its MLmodel file can't be read ({error}).") from error
    if not isinstance(mlmodel, dict):
        raise SourceError(f"{folder} is no logged model: its MLmodel file is damaged.")
    ours = (mlmodel.get("metadata") or {}).get("phi3") or {}
    match ours.get("wrapper"):
        case "onnx":
            artifacts = mlmodel["flavors"]["python_function"]["artifacts"]
            (artifact,) = artifacts.values()
            return open_weights(folder / artifact["path"], "onnx", options=ours.get("options"))
        case "transformers":
            model, tokenizer = folder / "model", folder / "components" / "tokenizer"
            return open_weights(model, "transformers", tokenizer=tokenizer, options=ours.get("options"))
    raise SourceError(
        "This version was made by neither of our wrappers, so it can't be chatted with here yet. "
        "Serve it with “mlflow models serve” instead."
    )


def open_weights(
    folder: Path,
    kind: str,
    tokenizer: Path | None = None,
    precision: str = "auto",
    options: dict[str, Any] | None = None,
) -> Engine:
    """Load an ONNX or a Transformers folder. Raises SourceError where it can't be loaded."""
    defaults = Options(**{**(options or {}), "stop": tuple((options or {}).get("stop") or ())})
    try:
        if kind == "onnx":
            from .onnx import OnnxEngine

            return OnnxEngine(folder, defaults)
        from .transformers import TransformersEngine

        return TransformersEngine(folder, tokenizer or folder, precision, defaults)
    except Exception as error:  # the runtimes and their file formats have no common base
        first = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise SourceError(f"The model can't be loaded: {first[:300]}. Its files are damaged or incomplete.") from error


def check_room(prompt_tokens: int, context_length: int) -> int:
    """Tokens left for the answer. Raises BadInput for an empty prompt or a full context."""
    if prompt_tokens == 0:
        raise BadInput("The prompt is empty: write something for the model to answer.")
    if prompt_tokens >= context_length:
        raise BadInput(
            f"The conversation has {prompt_tokens:,} tokens and the model's context holds {context_length:,}. "
            "Shorten it, or start a new conversation."
        )
    return context_length - prompt_tokens


def check_messages(messages: list[dict[str, str]]) -> None:
    """Raise BadInput unless there is a message with something in it to answer."""
    if not messages or not messages[-1]["content"].strip():
        raise BadInput("The last message is empty: write something for the model to answer.")


def until_stop(pieces: Iterator[str], stops: tuple[str, ...]) -> Generator[str, None, bool]:
    """Pass text on until a stop sequence, which is cut off; hold back what may become one.

    The generator returns True when a stop sequence ended it.
    """
    held, keep = "", max((len(stop) for stop in stops), default=1) - 1
    for piece in pieces:
        held += piece
        found = [at for at in (held.find(stop) for stop in stops) if at >= 0]
        if found:
            if min(found):
                yield held[: min(found)]
            return True
        ready = len(held) - keep
        if ready > 0:
            yield held[:ready]
            held = held[ready:]
    if held:
        yield held
    return False
