"""MLflow models of other authors whose `predict` says by its type hints that it takes messages."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from phi3core.engine.interface import Done
from phi3core.engine.pyfunc import PyfuncEngine
from tests.support import third_party
from tests.support.asking_pyfunc import TALK, ask

_CODE = """
from typing import Any, Optional
import mlflow, pydantic
from mlflow.types.agent import ChatAgentMessage
from mlflow.types.llm import ChatMessage

class Message(pydantic.BaseModel):
    role: str
    content: str
    name: Optional[str] = None

class Request(pydantic.BaseModel):
    messages: list[Message]
    temperature: Optional[float] = None

class Said(mlflow.pyfunc.PythonModel):
    def predict(self, model_input: list[{kind}]) -> list[{answer}]:
        row = model_input[0]
        temperature = getattr(row, "temperature", None)
        messages = row if isinstance(row, list) else getattr(row, "messages", None) or model_input
        said = [m if isinstance(m, dict) else dict(role=m.role, content=m.content) for m in messages]
        text = f"{{type(row).__name__}} {{temperature}}: " + "+".join(m["content"] for m in said)
        return [{told}]
{stream}
mlflow.models.set_model(Said())
"""
_STREAM = """
    def predict_stream(self, context, model_input, params=None):
        yield "one row only"
"""


def opened(folder: Path, kind: str, answer: str = "str", told: str = "text", stream: str = "") -> PyfuncEngine:
    """The engine of a model whose rows are of this kind."""
    source = _CODE.format(kind=kind, answer=answer, told=told, stream=stream)
    return PyfuncEngine(third_party.save_code(folder / "model", source))


@pytest.mark.parametrize(
    ("kind", "row"),
    [
        ("Message", "Message"),
        ("dict[str, str]", "dict"),
        ("dict[str, Any]", "dict"),
        ("ChatAgentMessage", "ChatAgentMessage"),
        ("ChatMessage", "ChatMessage"),
        ("list[Message]", "list"),
        ("Request", "Request"),
    ],
)
def test_a_list_of_messages_is_a_conversation(tmp_path: Path, kind: str, row: str) -> None:
    engine = opened(tmp_path, kind)

    pieces, reason, done = ask(engine, *TALK)

    assert engine.chat == "messages"
    assert "".join(pieces) == f"{row} None: Be brief.+Hello+Hi.+hi there"
    assert (reason, done) == ("stop", Done(0, 0, counted=False))


def test_options_stand_beside_the_messages_where_the_class_has_them(tmp_path: Path) -> None:
    engine = opened(tmp_path, "Request")

    assert engine.supports == {"n", "temperature"}
    assert ask(engine, "Hello", temperature=0.5)[0] == ["Request 0.5: Hello"]
    assert ask(engine, "Hello")[0] == ["Request None: Hello"]


def test_a_message_is_an_answer_too(tmp_path: Path) -> None:
    engine = opened(tmp_path, "Message", "Message", 'Message(role="assistant", content=text)')

    assert ask(engine, "Hello")[0] == ["Message None: Hello"]


def test_what_streams_one_row_only_is_asked_for_the_whole_answer(tmp_path: Path) -> None:
    engine = opened(tmp_path, "Message", stream=_STREAM)

    assert ask(engine, *TALK)[0] == ["Message None: Be brief.+Hello+Hi.+hi there"]


@pytest.mark.parametrize("kind", ["int", "dict[str, int]", "Any"])
def test_a_list_of_something_else_is_none(tmp_path: Path, kind: str) -> None:
    source: Any = _CODE.format(kind=kind, answer="str", told="text", stream="")

    assert PyfuncEngine(third_party.save_code(tmp_path / "model", source)).chat == "none"
