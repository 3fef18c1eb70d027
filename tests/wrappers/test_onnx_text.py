"""The ONNX wrapper's own code, as it is logged, reads every text whole; on a tiny model."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import mlflow
import pytest
from hypothesis import example, given

from phi3core.engine.genai_tokenizer import GenaiTokenizer
from phi3core.wrappers.onnx import TEMPLATE
from tests.support.made_up import TEXT

OPTIONS = {
    "max_tokens": 4,
    "temperature": 0.0,
    "top_p": 1.0,
    "top_k": 50,
    "min_p": 0.0,
    "repetition_penalty": 1.0,
    "seed": -1,
    "stop": [],
}


@pytest.fixture(scope="module")
def template() -> Any:
    """The module that MLflow makes of the logged file."""
    spec = importlib.util.spec_from_file_location("logged_template", TEMPLATE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(mlflow.models, "set_model", lambda model: None)  # it acts on the whole process
        spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module", params=["prompt", "chat"])
def model(request: pytest.FixtureRequest, template: Any, tiny_onnx: Path) -> Any:
    return loaded(template, tiny_onnx, request.param)


def loaded(template: Any, folder: Path, signature: str) -> Any:
    model = template.Phi3Model()
    config = {**OPTIONS, "signature": signature}
    model.load_context(SimpleNamespace(artifacts={template.ARTIFACT: str(folder)}, model_config=config))
    return model


@pytest.fixture(scope="module")
def chat(template: Any, tiny_onnx: Path) -> Any:
    return loaded(template, tiny_onnx, "chat")


@given(TEXT)
@example("a\0b\x01\0")
def test_it_reads_every_text_as_the_model_server_does(chat: Any, engines: GenaiTokenizer, text: str) -> None:
    messages = [{"role": "user", "content": text}, {"role": "user", "content": "End"}]

    prompt = chat.tokenizer.render(messages)

    assert prompt == engines.render(messages)
    assert chat.tokenizer.encode(prompt).tolist() == engines.encode(prompt).tolist()


@pytest.fixture(scope="module")
def engines(tiny_onnx: Path) -> GenaiTokenizer:
    return GenaiTokenizer(tiny_onnx)


def test_a_conversation_with_a_nul_is_answered_to_its_end(chat: Any) -> None:
    def prompt_tokens(text: str) -> int:
        messages = [{"role": "user", "content": text}, {"role": "user", "content": "What is it about?"}]
        (answer,) = chat.predict(None, {"messages": messages})
        return int(answer["usage"]["prompt_tokens"])

    assert prompt_tokens("Page one\0 of the report") == prompt_tokens("Page one of the report") + 1


def test_half_a_character_is_refused_in_a_sentence(model: Any) -> None:
    asked = {"messages": [{"role": "user", "content": "hi \ud83d"}]} if model.is_chat else {"prompt": ["hi \ud83d"]}

    with pytest.raises(ValueError, match="not valid Unicode"):
        model.predict(None, asked)
