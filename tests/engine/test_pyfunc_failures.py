"""Whatever a model's code does, an answer fails with a sentence; pickles are refused unless they are trusted."""

from __future__ import annotations

import shutil
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from phi3core.engine.loader import open_artifact
from phi3core.engine.pyfunc import PyfuncEngine
from phi3core.engine.pyfunc_output import AnswerReader
from phi3core.errors import Phi3Error, ServerError, SourceError
from tests.support import third_party
from tests.support.asking_pyfunc import KINDS, Opener, ask

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
        AnswerReader().read(output)


# ---------------------------------------------------------------- pickles


def test_a_pickle_is_refused_before_it_is_opened(tmp_path: Path, cautious: None) -> None:
    folder = third_party.save_pickled(tmp_path / "m", tmp_path / "exploded")

    with pytest.raises(SourceError, match="PHI3_TRUST_PICKLES"):
        open_artifact(folder, code=True)

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
        open_artifact(tmp_path, code=True)


def test_a_model_without_its_code_is_told(made: Callable[[str], Path], tmp_path: Path) -> None:
    folder = shutil.copytree(made("text"), tmp_path / "m")
    (folder / "text_code.py").unlink()

    with pytest.raises(SourceError, match="can't be loaded"):
        open_artifact(folder, code=True)
