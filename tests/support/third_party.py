"""Small MLflow models that somebody else might have logged, made from code in milliseconds.

    folder = third_party.save(tmp_path / "model", "chat")

What they do depends on what they are asked: the words `raise`, `exit`, `interrupt`, `print`, `import`, `slow`,
`environ` and `read FILE` make them do just that.
"""

from __future__ import annotations

import contextlib
import sys
from pathlib import Path
from typing import Any

_DO = """
import os, sys, time
import mlflow

def do(text):
    if text == "raise":
        raise RuntimeError("out of cheese\\nTraceback: here and there")
    if text == "exit":
        sys.exit(3)
    if text == "interrupt":
        raise KeyboardInterrupt
    if text == "import":
        import a_package_that_nobody_has
    if text == "print":
        print("noise " * 2000, flush=True)
    if text == "slow":
        time.sleep(60)
    if text == "environ":
        return " ".join(os.environ)
    if str(text).startswith("read "):
        try:
            return str(open(text.removeprefix("read "), "rb").read())
        except OSError as error:
            return type(error).__name__
    return text
"""

_CHAT = '''
from mlflow.types.llm import *

def usage(n):
    return TokenUsageStats(prompt_tokens=7, completion_tokens=n, total_tokens=7 + n)

class Echo(mlflow.pyfunc.ChatModel):
    """Says the last message again, word by word and at most max_tokens of them, then what it was asked for."""

    def words(self, messages, params):
        said = do(messages[-1].content).split()
        given = {k: v for k, v in params.to_dict().items() if k not in ("n", "stream")}
        return (said + [f"{len(messages)} messages {given}"])[: params.max_tokens]

    def predict(self, context, messages, params):
        words = self.words(messages, params)
        message = ChatMessage(role="assistant", content=" ".join(words))
        # As MLflow's own chat pipeline does: “stop”, whatever happened.
        return ChatCompletionResponse(choices=[ChatChoice(message=message)], usage=usage(len(words)))
'''
_CHAT_STREAM = """
    def predict_stream(self, context, messages, params):
        words = self.words(messages, params)
        for at, word in enumerate(words):
            delta = ChatChoiceDelta(content=word if at == 0 else " " + word)
            yield ChatCompletionChunk(choices=[ChatChunkChoice(delta=delta)])
        end = ChatChunkChoice(delta=ChatChoiceDelta(content=None), finish_reason="stop")
        yield ChatCompletionChunk(choices=[end], usage=usage(len(words)))
"""

_AGENT = '''
from mlflow.types.agent import *

class Agent(mlflow.pyfunc.ChatAgent):
    """Looks something up with a tool, then answers in two messages."""

    def said(self, messages):
        text = do(messages[-1].content)
        call = {"id": "c1", "type": "function", "function": {"name": "look_up", "arguments": "{}"}}
        yield ChatAgentMessage(role="assistant", content="", id="1", tool_calls=[call])
        if text == "tool":
            return
        yield ChatAgentMessage(role="tool", content="a secret", id="2", name="look_up", tool_call_id="c1")
        yield ChatAgentMessage(role="assistant", content=f"You said {text}.", id="3")
        yield ChatAgentMessage(role="assistant", content=f"In {len(messages)} messages.", id="4")

    def predict(self, messages, context=None, custom_inputs=None):
        usage = {"prompt_tokens": 5, "completion_tokens": 9, "total_tokens": 14}
        return ChatAgentResponse(messages=list(self.said(messages)), finish_reason="length", usage=usage)
'''
_AGENT_STREAM = """
    def predict_stream(self, messages, context=None, custom_inputs=None):
        for message in self.said(messages):
            if message.role == "tool" or not message.content:
                yield ChatAgentChunk(delta=message)
                continue
            for letter in message.content:
                yield ChatAgentChunk(delta=ChatAgentMessage(role="assistant", content=letter, id=message.id))
        yield ChatAgentChunk(delta=ChatAgentMessage(role="assistant", content="", id="4"), finish_reason="length")
"""

_RESPONSES = '''
from mlflow.types.responses import *

class Agent(mlflow.pyfunc.ResponsesAgent):
    """Thinks, then says the last message again and what it was asked for."""

    def text(self, request):
        said = do(request.input[-1].content)
        return f"{said} {request.temperature} {request.max_output_tokens} {len(request.input)}"

    def predict(self, request):
        text = self.text(request)
        usage = {"input_tokens": 3, "input_tokens_details": {"cached_tokens": 0}, "output_tokens": 4,
                 "output_tokens_details": {"reasoning_tokens": 0}, "total_tokens": 7}
        output = [self.create_reasoning_item("r1", "I think."), self.create_text_output_item(text, "m1")]
        return ResponsesAgentResponse(output=output, usage=usage, status="incomplete",
                                      incomplete_details={"reason": "max_output_tokens"})
'''
_RESPONSES_STREAM = """
    def predict_stream(self, request):
        text = self.text(request)
        if text.startswith("fail"):
            yield ResponsesAgentStreamEvent(type="error", message="the tool box is empty")
        for letter in text:
            yield ResponsesAgentStreamEvent(**self.create_text_delta(letter, "m1"))
        yield ResponsesAgentStreamEvent(type="response.output_item.done", item=self.create_text_output_item(text, "m1"))
        item = self.create_text_output_item("Bye.", "m2")  # never streamed
        yield ResponsesAgentStreamEvent(type="response.output_item.done", item=item)
"""

_TEXT = '''
class Text(mlflow.pyfunc.PythonModel):
    """Tells what came in the column `question`, and the parameters."""

    def predict(self, context, model_input, params=None):
        return [f"{do(text)} is a {type(text).__name__} with {params}" for text in model_input["question"]]
'''
_TEXT_STREAM = """
    def predict_stream(self, context, model_input, params=None):
        for word in do(model_input["question"]).split():
            yield word + " "
        yield f"is a {type(model_input['question']).__name__} with {params}"
"""

_LIST = '''
class Shout(mlflow.pyfunc.PythonModel):
    """Its signature comes from the type hints: a column without a name."""

    def predict(self, model_input: list[str]) -> list[str]:
        return [do(text).upper() for text in model_input]
'''

_LABELS = '''
class Labels(mlflow.pyfunc.PythonModel):
    """What a text is about: a row of several columns, as Hugging Face's text classification gives it."""

    def predict(self, context, model_input, params=None):
        import pandas as pd
        rows = [{"label": do(text).upper(), "score": 0.75} for text in model_input["text"]]
        return pd.DataFrame(rows)
'''

_NUMBERS = '''
class Sum(mlflow.pyfunc.PythonModel):
    """The sum of two columns; infinite where one is below zero, and no data at all where it is above 99."""

    def predict(self, context, model_input, params=None):
        import numpy as np
        do({-2: "raise", -3: "exit", -4: "print"}.get(model_input["a"].iloc[0], ""))
        if (model_input["a"] > 99).any():
            return object()
        total = model_input["a"] + model_input["b"]
        return np.where(model_input["a"] < 0, np.inf, total)
'''

_SET = "\nmlflow.models.set_model({name}())\n"
_SOURCES = {
    "chat": _DO + _CHAT + _CHAT_STREAM + _SET.format(name="Echo"),
    "chat-whole": _DO + _CHAT + _SET.format(name="Echo"),
    "agent": _DO + _AGENT + _AGENT_STREAM + _SET.format(name="Agent"),
    "agent-whole": _DO + _AGENT + _SET.format(name="Agent"),
    "responses": _DO + _RESPONSES + _RESPONSES_STREAM + _SET.format(name="Agent"),
    "responses-whole": _DO + _RESPONSES + _SET.format(name="Agent"),
    "text": _DO + _TEXT + _TEXT_STREAM + _SET.format(name="Text"),
    "text-whole": _DO + _TEXT + _SET.format(name="Text"),
    "list": _DO + _LIST + _SET.format(name="Shout"),
    "labels": _DO + _LABELS + _SET.format(name="Labels"),
    "numbers": _DO + _NUMBERS + _SET.format(name="Sum"),
}


def save(folder: Path, kind: str, **changes: Any) -> Path:
    """Save a model; changes: further arguments of `mlflow.pyfunc.save_model`."""
    return save_code(folder, _SOURCES[kind], **{**_signature(kind), **changes})


def save_code(folder: Path, source: str, **arguments: Any) -> Path:
    """Save a model from its code."""
    import mlflow.pyfunc

    file = folder.parent / f"{folder.name}_code.py"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(source)
    mlflow.pyfunc.save_model(folder, python_model=str(file), **{"pip_requirements": ["mlflow"], **arguments})
    return folder


def save_pickled(folder: Path, mark: Path) -> Path:
    """A model stored as a pickle that makes the file `mark` when it is opened."""
    import cloudpickle
    import mlflow.pyfunc

    save_code(folder, _SOURCES["text"], **_signature("text"))
    cloudpickle.register_pickle_by_value(sys.modules[__name__])  # a model server can't import the tests
    (folder / "python_model.pkl").write_bytes(cloudpickle.dumps(_Bomb(str(mark))))
    mlmodel = mlflow.models.Model.load(folder)
    flavor = mlmodel.flavors["python_function"]
    del flavor["model_code_path"]
    flavor |= {"python_model": "python_model.pkl", "loader_module": "mlflow.pyfunc.model"}
    mlmodel.save(folder / "MLmodel")
    return folder


class _Bomb:
    def __init__(self, mark: str) -> None:
        self.mark = mark

    def __reduce__(self) -> Any:
        return _explode, (self.mark,)


def _explode(mark: str) -> Any:
    import mlflow.pyfunc

    with contextlib.suppress(PermissionError):  # in a cell
        Path(mark).touch()

    class Quiet(mlflow.pyfunc.PythonModel):
        def predict(self, context: Any, model_input: Any, params: Any = None) -> Any:
            return [f"{text}!" for text in model_input["question"]]

    return Quiet()


def _signature(kind: str) -> dict[str, Any]:
    """The arguments for a model whose signature MLflow does not make by itself."""
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, DataType, ParamSchema, ParamSpec, Schema

    if kind in ("text", "text-whole"):
        params = [
            ParamSpec("temperature", DataType.double, 0.5),
            ParamSpec("max_new_tokens", DataType.long, 64),
            ParamSpec("top_k", DataType.long, 0),
            ParamSpec("stop", DataType.string, [], shape=(-1,)),
            ParamSpec("mood", DataType.string, "fine"),
        ]
        texts = Schema([ColSpec(DataType.string)])
        return {"signature": ModelSignature(Schema([ColSpec(DataType.string, "question")]), texts, ParamSchema(params))}
    if kind == "labels":
        row = Schema([ColSpec(DataType.string, "label"), ColSpec(DataType.double, "score")])
        return {"signature": ModelSignature(Schema([ColSpec(DataType.string, "text")]), row)}
    if kind == "numbers":
        inputs = Schema([ColSpec(DataType.double, "a"), ColSpec(DataType.double, "b")])
        return {"signature": ModelSignature(inputs, Schema([ColSpec(DataType.double)]))}
    return {}
