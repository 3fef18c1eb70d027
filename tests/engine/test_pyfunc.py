"""The engine for models that our wrappers did not make, on real ones: from code, pickled, and a pipeline."""

from __future__ import annotations

import json
import shutil
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from phi3core.engine.interface import Done, End, Options, Piece
from phi3core.engine.loader import open_artifact
from phi3core.engine.pyfunc import PyfuncEngine
from phi3core.engine.pyfunc_output import AnswerReader
from phi3core.errors import BadInput, Phi3Error, ServerError, SourceError
from phi3core.settings import Settings
from tests.support import third_party

TALK = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": "Hello"},
    {"role": "assistant", "content": "Hi."},
    {"role": "user", "content": "hi there"},
]
KINDS = ("chat", "agent", "responses", "text")
Opener = Callable[[str], PyfuncEngine]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Folders of saved models, each made once."""
    home, folders = tmp_path_factory.mktemp("made"), dict[str, Path]()

    def make(kind: str) -> Path:
        if kind not in folders:
            folders[kind] = third_party.save(home / kind, kind)
        return folders[kind]

    return make


@pytest.fixture
def opened(made: Callable[[str], Path], untraced: None) -> Opener:
    return lambda kind: PyfuncEngine(made(kind))


@pytest.fixture
def untraced(settings: Settings) -> Iterator[None]:
    """MLflow traces a ResponsesAgent by itself, into a store that it makes where there is none: not here."""
    import mlflow

    mlflow.tracing.disable()
    yield
    mlflow.tracing.enable()


@pytest.fixture
def cautious(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_ALLOW_PICKLE_DESERIALIZATION", "false")


def ask(engine: PyfuncEngine, *said: str | dict[str, str], **options: Any) -> tuple[list[str], str, Done]:
    """The pieces of an answer, its finish reason, and its end."""
    messages = [{"role": "user", "content": one} if isinstance(one, str) else one for one in said]
    items = list(engine.stream(engine.prepare(messages), engine.options.but(**options), lambda: False))
    (end,) = [item for item in items if isinstance(item, End)]
    assert isinstance(items[-1], Done)
    return [item.text for item in items if isinstance(item, Piece)], end.finish_reason, items[-1]


# ---------------------------------------------------------------- conversations


def test_a_chat_model_gets_the_whole_conversation_and_streams(opened: Opener) -> None:
    engine = opened("chat")

    pieces, reason, done = ask(engine, *TALK)

    assert engine.chat == "messages"
    assert pieces[:2] == ["hi", " there"]
    assert "4 messages" in "".join(pieces)
    assert (reason, done) == ("stop", Done(7, 3))


@pytest.mark.parametrize("kind", ["chat", "agent", "responses", "text"])
def test_a_streamed_answer_is_the_whole_one_in_pieces(opened: Opener, kind: str) -> None:
    streamed, _, _ = ask(opened(kind), "hello")
    whole, _, _ = ask(opened(f"{kind}-whole"), "hello")

    assert len(streamed) > 1
    assert len(whole) == 1
    # The agent that streams says one word more, which it never sent in pieces.
    assert "".join(streamed).removesuffix("\n\nBye.").split() == "".join(whole).split()


def test_a_model_gets_only_the_options_that_somebody_asked_for_and_a_limit(opened: Opener) -> None:
    told = "".join(ask(opened("chat"), "x", temperature=0.5, stop=("END",), presence_penalty=1.0)[0])

    given = {"temperature": 0.5, "max_tokens": 300, "stop": ["END"], "presence_penalty": 1.0}
    assert f"{given}" in told


def test_a_chat_model_supports_what_mlflows_chat_requests_hold(opened: Opener) -> None:
    assert opened("chat").supports == {
        "max_tokens", "temperature", "top_p", "top_k", "stop", "n", "presence_penalty", "frequency_penalty",
    }  # fmt: skip


def test_an_answer_that_reached_the_limit_says_so_though_its_model_does_not(opened: Opener) -> None:
    for kind in ("chat", "chat-whole"):
        pieces, reason, done = ask(opened(kind), "one two three", max_tokens=2)

        assert "".join(pieces) == "one two"
        assert (reason, done.completion_tokens) == ("length", 2)


def test_a_model_is_asked_once_for_each_of_n_answers(opened: Opener) -> None:
    engine = opened("chat")
    prompt = engine.prepare([{"role": "user", "content": "yes"}])

    items = list(engine.stream(prompt, engine.options.but(n=2, max_tokens=1), lambda: False))

    assert items == [Piece("yes", 0), End("length", 0), Piece("yes", 1), End("length", 1), Done(7, 2)]


def test_an_answer_ends_where_it_is_stopped(opened: Opener) -> None:
    engine, got = opened("chat"), list[Any]()
    prompt = engine.prepare([{"role": "user", "content": "one two three four"}])

    for item in engine.stream(prompt, engine.options, lambda: len(got) >= 2):
        got.append(item)

    assert [item.text for item in got if isinstance(item, Piece)] == ["one", " two"]
    assert isinstance(got[-2], End)
    assert isinstance(got[-1], Done)


def test_what_an_agents_tools_said_is_not_its_answer(opened: Opener) -> None:
    for kind in ("agent", "agent-whole"):
        pieces, reason, _ = ask(opened(kind), "tea")

        assert "".join(pieces) == "You said tea.\n\nIn 1 messages."
        assert reason == "length"


def test_an_agent_that_only_asks_for_a_tool_fails_with_its_name(opened: Opener) -> None:
    for kind in ("agent", "agent-whole"):
        with pytest.raises(ServerError, match="asks for the tool “look_up”"):
            ask(opened(kind), "tool")


def test_a_responses_agent_gets_the_options_it_knows_under_its_own_names(opened: Opener) -> None:
    engine = opened("responses-whole")

    pieces, reason, done = ask(engine, *TALK, temperature=0.5, max_tokens=9)

    assert engine.supports == {"max_tokens", "temperature", "top_p", "n"}
    assert pieces == ["hi there 0.5 9 4"]
    assert (reason, done) == ("length", Done(3, 4))


def test_a_responses_agents_message_is_told_once_streamed_or_not(opened: Opener) -> None:
    assert "".join(ask(opened("responses"), "tea")[0]) == "tea None 300 1\n\nBye."


def test_counts_that_a_model_does_not_tell_are_unknown(opened: Opener) -> None:
    for kind in ("text", "text-whole", "list"):
        assert not ask(opened(kind), "hello")[2].counted
    assert ask(opened("chat"), "hello")[2].counted


def test_an_error_in_a_responses_agents_stream_is_an_error(opened: Opener) -> None:
    with pytest.raises(ServerError, match="the tool box is empty"):
        ask(opened("responses"), "fail")


def test_a_model_logged_as_streaming_without_the_code_for_it_answers_whole(tmp_path: Path) -> None:
    engine = PyfuncEngine(third_party.save(tmp_path / "m", "text-whole", streamable=True))

    for _ in range(2):
        assert len(ask(engine, "hello")[0]) == 1


def test_an_empty_conversation_is_refused(opened: Opener) -> None:
    for kind in KINDS:
        with pytest.raises(BadInput, match="empty"):
            opened(kind).prepare([{"role": "user", "content": " "}])


# ---------------------------------------------------------------- one text


def test_a_text_model_gets_a_string_whatever_its_column_is_called(opened: Opener) -> None:
    for kind in ("text", "text-whole"):
        engine = opened(kind)

        pieces, reason, _ = ask(engine, "hi there")

        assert engine.chat == "prompt"
        assert "hi there is a str with" in "".join(pieces)
        assert reason == "stop"


def test_a_text_models_parameters_are_its_options_with_its_own_defaults(opened: Opener) -> None:
    engine = opened("text-whole")

    told = "".join(ask(engine, "x", top_k=7, stop=("a",), max_tokens=5)[0])

    assert engine.supports == {"max_tokens", "temperature", "top_k", "stop", "n"}
    assert (engine.options.temperature, engine.options.max_tokens) == (0.5, 64)
    for given in ("'max_new_tokens': 5", "'top_k': 7", "'stop': ['a']", "'temperature': 0.5", "'mood': 'fine'"):
        assert given in told


def test_a_models_own_way_to_say_off_stays_its_own(opened: Opener) -> None:
    assert "'top_k': 0" in "".join(ask(opened("text-whole"), "x")[0])


def test_a_column_without_a_name_takes_a_text(opened: Opener) -> None:
    engine = opened("list")

    assert engine.chat == "prompt"
    assert ask(engine, "louder")[0] == ["LOUDER"]


@pytest.mark.parametrize(("kind", "name"), [("O", None), ("O", "q"), ("U", "q")])
def test_a_tensor_of_text_takes_a_text(tmp_path: Path, kind: str, name: str | None) -> None:
    import numpy as np
    from mlflow.models import ModelSignature
    from mlflow.types import Schema, TensorSpec

    source = """
        import mlflow, numpy as np
        class Tensor(mlflow.pyfunc.PythonModel):
            def predict(self, context, model_input, params=None):
                array = model_input["q"] if isinstance(model_input, dict) else model_input
                return np.array([f"{text} {array.shape}" for text in array.ravel()], dtype=object)
        mlflow.models.set_model(Tensor())
    """
    inputs = Schema([TensorSpec(np.dtype(kind), (-1, 1), name)])
    signature = ModelSignature(inputs, Schema([TensorSpec(np.dtype("O"), (-1,))]))
    engine = PyfuncEngine(third_party.save_code(tmp_path / "m", textwrap.dedent(source), signature=signature))

    assert engine.chat == "prompt"
    assert ask(engine, "hi")[0] == ["hi (1, 1)"]


def test_a_text_model_is_chatted_with_whatever_it_answers(opened: Opener) -> None:
    engine = opened("labels")

    pieces, reason, _ = ask(engine, "fine")

    assert engine.chat == "prompt"
    assert pieces == ['{\n  "label": "FINE",\n  "score": 0.75\n}']
    assert reason == "stop"


def test_a_text_classification_pipeline_answers_with_its_label_and_score(tiny_once: Path, tmp_path: Path) -> None:
    import mlflow.transformers
    import transformers
    from transformers import AutoTokenizer, Phi3Config, Phi3ForSequenceClassification

    config = Phi3Config.from_pretrained(tiny_once, num_labels=2)
    pipeline = transformers.pipeline(
        "text-classification", model=Phi3ForSequenceClassification(config),
        tokenizer=AutoTokenizer.from_pretrained(tiny_once),
    )  # fmt: skip
    signature = mlflow.models.infer_signature(["fine"], mlflow.transformers.generate_signature_output(pipeline, "fine"))
    mlflow.transformers.save_model(pipeline, tmp_path / "m", signature=signature, pip_requirements=["mlflow"])
    engine = PyfuncEngine(tmp_path / "m")

    (text,), _, _ = ask(engine, "fine")

    assert engine.chat == "prompt"
    assert json.loads(text).keys() == {"label", "score"}


@pytest.mark.parametrize(
    ("output", "told"),
    [
        ("[1.5]", "1.5"),
        ("['a', 'b']", '[\n  "a",\n  "b"\n]'),
        ("[{'x': float('nan')}]", '{\n  "x": null\n}'),
        ("np.array([[0.25, 0.75]])", "[\n  0.25,\n  0.75\n]"),
        ("pd.DataFrame({'é': [True, False]})", '[\n  {\n    "é": true\n  },\n  {\n    "é": false\n  }\n]'),
        ("None", "null"),
    ],
)
def test_an_answer_that_is_no_text_is_told_as_json(tmp_path: Path, output: str, told: str) -> None:
    source = f"""
        import mlflow, numpy as np, pandas as pd
        class Odd(mlflow.pyfunc.PythonModel):
            def predict(self, context, model_input, params=None):
                return {output}
            def predict_stream(self, context, model_input, params=None):
                yield {output}
        mlflow.models.set_model(Odd())
    """
    arguments = third_party._signature("text-whole")
    for streamable in (False, True):
        folder = tmp_path / f"m{streamable}"
        third_party.save_code(folder, textwrap.dedent(source), streamable=streamable, **arguments)
        if (output, streamable) != ("None", True):  # a chunk of nothing is nothing
            assert "".join(ask(PyfuncEngine(folder), "hi")[0]) == told


def test_a_text_model_refuses_a_conversation(opened: Opener) -> None:
    with pytest.raises(BadInput, match="one text and no conversation"):
        opened("text").prepare(TALK)


def test_a_prompt_for_a_chat_model_is_refused(opened: Opener) -> None:
    engine = opened("chat")

    with pytest.raises(BadInput, match="takes messages"):
        list(engine.stream("Once upon a time", engine.options, lambda: False))


# ---------------------------------------------------------------- everything else


def test_a_numeric_model_holds_no_conversation_but_predicts(opened: Opener) -> None:
    engine = opened("numbers")

    assert (engine.chat, engine.supports) == ("none", frozenset())
    with pytest.raises(BadInput, match="/invocations"):
        engine.prepare(TALK)
    for body in (
        {"inputs": {"a": [1, 2], "b": [3, 4]}},
        {"instances": [{"a": 1, "b": 3}, {"a": 2, "b": 4}]},
        {"dataframe_split": {"columns": ["a", "b"], "data": [[1, 3], [2, 4]]}},
        {"dataframe_records": [{"a": 1, "b": 3}, {"a": 2, "b": 4}]},
    ):
        assert engine.predict(body) == {"predictions": [4.0, 6.0]}


def test_what_json_has_no_number_for_is_null(opened: Opener) -> None:
    body = {"dataframe_records": [{"a": -1, "b": 1}]}

    assert opened("numbers").predict(body) == {"predictions": [None]}


@pytest.mark.parametrize("kind", ["chat", "agent"])
def test_a_chat_body_is_answered_as_mlflow_does(opened: Opener, kind: str) -> None:
    answer = opened(kind).predict({"messages": TALK})

    assert "hi there" in str(answer)
    assert "predictions" not in answer


def test_parameters_of_an_invocation_reach_the_model(opened: Opener) -> None:
    body = {"dataframe_split": {"columns": ["question"], "data": [["x"]]}, "params": {"mood": "grim"}}

    (answer,) = opened("text").predict(body)["predictions"]

    assert "'mood': 'grim'" in answer


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ({}, "it holds nothing"),
        ({"data": [1]}, "it holds data"),
        ({"inputs": {"a": [1]}, "instances": []}, "exactly one of"),
        ({"inputs": {"a": [1]}}, "missing inputs"),
        ({"dataframe_split": {"columns": ["a", "b"], "data": [[1, 2, 3]]}}, "can't be read"),
        ({"dataframe_split": 3}, "can't be read"),
        ({"dataframe_records": [{"a": "much", "b": 1}]}, "does not take|can't be read"),
    ],
)
def test_a_bad_body_is_refused_in_one_line(opened: Opener, body: dict[str, Any], told: str) -> None:
    with pytest.raises(BadInput, match=told) as caught:
        opened("numbers").predict(body)

    assert "\n" not in str(caught.value)
    assert "IMPORTANT" not in str(caught.value)


def test_a_body_is_left_as_it_was(opened: Opener) -> None:
    body = {"inputs": {"question": ["x"]}, "params": {"temperature": 1.0}}

    opened("text").predict(body)

    assert body == {"inputs": {"question": ["x"]}, "params": {"temperature": 1.0}}


def test_an_answer_that_is_no_data_is_named(opened: Opener) -> None:
    with pytest.raises(ServerError, match="written as JSON: it is of type object"):
        opened("numbers").predict({"dataframe_records": [{"a": 100, "b": 1}]})


def test_the_signature_is_plain_data(opened: Opener) -> None:
    signature = opened("text").signature

    assert signature is not None
    assert signature["inputs"] == [{"type": "string", "name": "question", "required": True}]
    assert signature["params"][0] == {"name": "temperature", "default": 0.5, "shape": None, "type": "double"}
    assert opened("numbers").signature == {**opened("numbers").signature, "params": None}  # type: ignore[dict-item]


def test_a_model_without_a_signature_only_predicts(tmp_path: Path) -> None:
    engine = PyfuncEngine(third_party.save(tmp_path / "m", "numbers", signature=None))

    assert (engine.chat, engine.signature) == ("none", None)
    assert engine.predict({"dataframe_records": [{"a": 1, "b": 3}]}) == {"predictions": [4]}


# ---------------------------------------------------------------- somebody's code


@pytest.mark.parametrize("kind", [*KINDS, "chat-whole", "text-whole", "list"])
@pytest.mark.parametrize(
    ("word", "kind_of_error", "told"),
    [
        ("raise", ServerError, "The model failed: RuntimeError: out of cheese."),
        ("exit", ServerError, "The model failed: SystemExit: 3."),
        ("interrupt", ServerError, "The model failed: KeyboardInterrupt."),
        ("import", SourceError, "“a_package_that_nobody_has”"),
    ],
)
def test_whatever_a_model_does_the_answer_fails_with_a_sentence(
    opened: Opener, kind: str, word: str, kind_of_error: type[Phi3Error], told: str
) -> None:
    engine = opened(kind)

    with pytest.raises(kind_of_error) as caught:
        ask(engine, word)

    assert told in str(caught.value)
    assert "Traceback" not in str(caught.value)
    assert "".join(ask(engine, "again")[0])


@pytest.mark.parametrize(("a", "told"), [(-2, "RuntimeError: out of cheese"), (-3, "SystemExit: 3")])
def test_a_prediction_fails_with_a_sentence_too(opened: Opener, a: int, told: str) -> None:
    with pytest.raises(ServerError, match=told):
        opened("numbers").predict({"dataframe_records": [{"a": a, "b": 1}]})


def test_a_model_may_print(opened: Opener, capsys: pytest.CaptureFixture[str]) -> None:
    pieces, _, _ = ask(opened("chat"), "print", max_tokens=1)

    assert pieces == ["print"]
    assert "noise" in capsys.readouterr().out


def test_a_model_whose_code_fails_as_it_loads_is_told(tmp_path: Path) -> None:
    folder = third_party.save(tmp_path / "m", "text")
    code = folder / "m_code.py"
    fine = code.read_text()

    for line, told in (
        ("raise ValueError('no cheese')", "can't be loaded: ValueError: no cheese"),
        ("import sys; sys.exit('bye')", "can't be loaded: SystemExit: bye"),
        ("import a_package_that_nobody_has", "“a_package_that_nobody_has”.*pip install -r .*requirements.txt"),
    ):
        code.write_text(f"{line}\n{fine}")
        with pytest.raises(SourceError, match=told):
            PyfuncEngine(folder)


def test_an_answer_that_is_no_data_fails_with_its_type(tmp_path: Path) -> None:
    source = """
        import mlflow
        class Odd(mlflow.pyfunc.PythonModel):
            def predict(self, context, model_input, params=None):
                return object()
        mlflow.models.set_model(Odd())
    """
    arguments = third_party._signature("text")
    engine = PyfuncEngine(third_party.save_code(tmp_path / "m", textwrap.dedent(source), **arguments))

    with pytest.raises(ServerError, match="written as JSON: it is of type object"):
        ask(engine, "hi")


@pytest.mark.parametrize(
    ("output", "told"), [([1.5], "of type float"), (["a", "b"], "2 answers"), ([{"x": 1}], "a dict with x")]
)
def test_a_conversations_answer_that_is_no_text_names_what_came(output: Any, told: str) -> None:
    with pytest.raises(ServerError, match=told):
        AnswerReader().whole(output)


# ---------------------------------------------------------------- pickles


def test_a_pickle_is_refused_before_it_is_opened(tmp_path: Path, cautious: None) -> None:
    folder = third_party.save_pickled(tmp_path / "m", tmp_path / "exploded")

    with pytest.raises(SourceError, match="PHI3_TRUST_PICKLES"):
        open_artifact(folder)

    assert not (tmp_path / "exploded").exists()


def test_a_trusted_pickle_answers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_ALLOW_PICKLE_DESERIALIZATION", "true")
    engine = PyfuncEngine(third_party.save_pickled(tmp_path / "m", tmp_path / "exploded"))

    assert ask(engine, "hi")[0] == ["hi!"]
    assert (tmp_path / "exploded").exists()


def test_a_scikit_learn_model_is_refused_until_it_is_trusted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import mlflow.sklearn
    from sklearn.linear_model import LinearRegression

    model = LinearRegression().fit([[0.0], [1.0]], [1.0, 3.0])
    mlflow.sklearn.save_model(
        model, tmp_path / "m", pip_requirements=["mlflow"], serialization_format="cloudpickle", input_example=[[1.0]]
    )

    monkeypatch.setenv("MLFLOW_ALLOW_PICKLE_DESERIALIZATION", "false")
    with pytest.raises(SourceError, match="PHI3_TRUST_PICKLES"):
        PyfuncEngine(tmp_path / "m")
    monkeypatch.setenv("MLFLOW_ALLOW_PICKLE_DESERIALIZATION", "true")
    (answer,) = PyfuncEngine(tmp_path / "m").predict({"inputs": [[2.0]]})["predictions"]
    assert answer == pytest.approx(5.0)


@pytest.mark.parametrize("name", ["model.pkl", "weights.joblib", "data"])
def test_a_foreign_loader_gets_no_pickle_to_open(tmp_path: Path, cautious: None, name: str) -> None:
    import pickle

    import mlflow.pyfunc

    (tmp_path / "its_loader.py").write_text("def _load_pyfunc(path):\n    raise RuntimeError('it ran')\n")
    (tmp_path / name).write_bytes(pickle.dumps({"a": 1}))
    mlflow.pyfunc.save_model(
        tmp_path / "m",
        loader_module="its_loader",
        data_path=str(tmp_path / name),
        code_paths=[str(tmp_path / "its_loader.py")],
        pip_requirements=["mlflow"],
    )

    with pytest.raises(SourceError, match="PHI3_TRUST_PICKLES"):
        PyfuncEngine(tmp_path / "m")


def test_a_model_from_code_needs_no_trust(opened: Opener, cautious: None) -> None:
    for kind in (*KINDS, "list", "numbers"):
        opened(kind)


# ---------------------------------------------------------------- broken folders


def test_a_model_that_mlflow_cant_ask_is_told(tmp_path: Path) -> None:
    (tmp_path / "MLmodel").write_text("flavors: {h2o: {}}\n")

    with pytest.raises(SourceError, match="no python_function flavor"):
        open_artifact(tmp_path)


def test_a_model_without_its_code_is_told(made: Callable[[str], Path], tmp_path: Path) -> None:
    folder = shutil.copytree(made("text"), tmp_path / "m")
    (folder / "text_code.py").unlink()

    with pytest.raises(SourceError, match="can't be loaded"):
        open_artifact(folder)


# ---------------------------------------------------------------- a pipeline that somebody else logged


def test_a_chat_pipeline_answers_with_the_options_that_work_in_it(tiny_once: Path, tmp_path: Path) -> None:
    import mlflow.transformers
    import transformers

    pipeline = transformers.pipeline(task="text-generation", model=str(tiny_once))
    mlflow.transformers.save_model(pipeline, tmp_path / "m", task="llm/v1/chat", pip_requirements=["mlflow"])
    engine = PyfuncEngine(tmp_path / "m")

    answers = {"".join(ask(engine, "Hello", temperature=0.0, max_tokens=6)[0]) for _ in range(3)}
    _, reason, done = ask(engine, "Hello", max_tokens=6)

    assert engine.chat == "messages"
    assert engine.supports == {"max_tokens", "temperature", "top_p", "top_k", "n"}
    assert len(answers) == 1
    assert reason == "length"
    assert done.completion_tokens == 6
    assert done.prompt_tokens > 6


def test_a_completion_pipeline_takes_one_text(tiny_once: Path, tmp_path: Path) -> None:
    import mlflow.transformers
    import transformers

    pipeline = transformers.pipeline(task="text-generation", model=str(tiny_once))
    mlflow.transformers.save_model(pipeline, tmp_path / "m", task="llm/v1/completions", pip_requirements=["mlflow"])
    engine = PyfuncEngine(tmp_path / "m")

    _, reason, done = ask(engine, "Hello", max_tokens=4, temperature=0.0)

    assert (engine.chat, engine.supports) == ("prompt", {"max_tokens", "temperature", "n"})
    assert (reason, done.completion_tokens) == ("length", 4)


# ---------------------------------------------------------------- shapes


def test_every_shape_of_a_whole_answer_is_read() -> None:
    import numpy as np
    import pandas as pd

    completion = {"choices": [{"message": {"role": "assistant", "content": "hi"}, "finish_reason": "length"}]}
    parts = [{"type": "reasoning", "summary": [{"text": "hm"}]}, {"type": "text", "text": "hi"}]
    for answer in (
        "hi",
        ["hi"],
        np.array(["hi"]),
        pd.Series(["hi"]),
        pd.DataFrame({"answer": ["hi"]}),
        {"predictions": ["hi"]},
        {"predictions": "hi"},
        {"predictions": [{"generated_text": "hi", "score": 0.1}]},
        completion,
        [completion],
        {"choices": [{"text": "hi"}]},
        {"choices": [{"message": {"content": parts}}]},
        {"messages": [{"role": "assistant", "content": "hi", "id": "1"}]},
        {"output": [{"type": "message", "id": "1", "content": [{"type": "output_text", "text": "hi"}]}]},
    ):
        assert AnswerReader().whole(answer) == "hi", answer


def test_a_reason_of_the_models_own_means_that_it_was_done() -> None:
    for said, reason in (("eos_token", "stop"), ("length", "length"), ("content_filter", "content_filter")):
        reader = AnswerReader()
        reader.whole({"choices": [{"message": {"content": "x"}, "finish_reason": said}]})
        assert reader.finish_reason == reason


def test_plain_options_are_all_passed_on(opened: Opener) -> None:
    engine = opened("chat")
    prompt = engine.prepare([{"role": "user", "content": "x"}])

    items = list(engine.stream(prompt, Options(top_k=3), lambda: False))

    assert "'top_k': 3" in "".join(item.text for item in items if isinstance(item, Piece))
