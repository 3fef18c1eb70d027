"""A version tried in the environment that it declares."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from phi3core import tags
from phi3core.build import declared_environment
from phi3core.build.steps import STEPS, Progress
from phi3core.cell.cell import why_none
from phi3core.errors import BadInput, BuildError, Forbidden
from phi3core.registry import reader
from phi3core.settings import Settings
from phi3core.store.client import mlflow_client
from phi3core.wrappers.onnx import TEMPLATE
from tests.support import fakes

MLMODEL = """
flavors:
  python_function:
    artifacts: {phi3-mini-onnx: {path: artifacts/phi3-mini-onnx, uri: phi3-mini-onnx}}
    cloudpickle_version: 3.1.2
    code: null
    config: {max_tokens: 300}
    env: {conda: conda.yaml, virtualenv: python_env.yaml}
    loader_module: mlflow.pyfunc.loaders.code_model
    model_code_path: /tmp/made/onnx_model.py
    python_version: 3.11.7
    streamable: true
metadata: {phi3: {wrapper: onnx}}
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """What our wrapper leaves of a logged model, without its weights."""
    made = tmp_path / "logged"
    made.mkdir()
    shutil.copy(TEMPLATE, made)
    (made / "MLmodel").write_text(MLMODEL)
    (made / "artifacts" / "phi3-mini-onnx").mkdir(parents=True)
    (made / "requirements.txt").write_text("mlflow==3.17.2\nonnxruntime-genai==0.18.0\nnumpy==2.4.6\n")
    return made


@pytest.fixture
def version(settings: Settings, folder: Path) -> str:
    known = {tags.WRAPPER: "onnx", tags.SIGNATURE: "prompt"}
    return f"phi3/{fakes.register(settings, 'phi3', folder.as_uri(), known, {tags.TOKENS_PER_SECOND: 1.0})}"


@pytest.mark.parametrize(("there", "same"), [("Red.", True), ("Blue.", False)])
def test_its_answer_is_held_against_the_one_that_it_gives_here(
    settings: Settings, version: str, monkeypatch: pytest.MonkeyPatch, there: str, same: bool
) -> None:
    asked: list[list[str]] = []

    def answer(python: Path, _: object, __: object, needed: list[str], *___: object) -> dict[str, Any]:
        asked.append(needed)
        return {"answer": there if needed else "Red.", "python": "3.11.7", "packages": {"numpy": "2.4.6"}}

    monkeypatch.setattr(declared_environment, "install", lambda needed, work: work / "python")
    monkeypatch.setattr(declared_environment, "ask", answer)
    told: list[Progress] = []
    run_id = mlflow_client(settings).create_run("0").info.run_id

    declared_environment.run_trial(settings, run_id, version, told.append)

    trial = declared_environment.read_trial(settings, reader.get_version(settings, version))
    assert trial is not None
    assert (trial.same, trial.answer, trial.ours, trial.packages) == (same, there, "Red.", {"numpy": "2.4.6"})
    assert asked == [["mlflow==3.17.2", "onnxruntime-genai==0.18.0", "numpy==2.4.6"], []]
    assert [one.step for one in told if one.seconds is not None] == list(STEPS["environment"])
    assert list(settings.tmp.iterdir()) == []


@pytest.mark.parametrize(
    "line", ["evil==1.0", "numpy", "numpy>=2", "numpy @ https://x.example/a.whl", "-r other.txt", "--index-url x", ""]
)
def test_only_what_our_wrappers_write_is_installed(folder: Path, line: str) -> None:
    (folder / "requirements.txt").write_text(line)

    with pytest.raises(BadInput, match="which is not what our wrappers write"):
        declared_environment.read_requirements(folder, "phi3/1")


def test_code_that_is_not_the_wrappers_is_not_run(folder: Path) -> None:
    declared_environment.check_code(folder, "phi3/1")
    (folder / "code").mkdir()
    (folder / "code" / "more.py").write_text("print('never run')")

    with pytest.raises(BadInput, match="is not run here"):
        declared_environment.check_code(folder, "phi3/1")


@pytest.mark.parametrize(
    ("was", "instead"),
    [
        ("loader_module: mlflow.pyfunc.loaders.code_model", "loader_module: evil"),
        ("code: null", "code: code"),
        ("model_code_path: /tmp/made/onnx_model.py", "python_model: artifacts/model.pkl"),
        ("/tmp/made/onnx_model.py", "/tmp/made/other.txt"),
        ("streamable: true", "streamable: true\n  sklearn: {code: null}"),
        ("wrapper: onnx", "wrapper: mine"),
        ("flavors:", "flavors: ["),
    ],
)
def test_what_mlflow_would_load_besides_the_wrapper_is_not_run(folder: Path, was: str, instead: str) -> None:
    (folder / "code").mkdir()
    (folder / "code" / "evil.pyc").write_bytes(b"compiled")
    (folder / "MLmodel").write_text(MLMODEL.replace(was, instead))

    with pytest.raises(BadInput, match="is not run here"):
        declared_environment.check_code(folder, "phi3/1")


def test_what_our_pipelines_have_mlflow_load_is_run(folder: Path) -> None:
    (folder / TEMPLATE.name).unlink()
    (folder / "MLmodel").write_text(
        "flavors:\n  python_function: {config: {}, env: {}, loader_module: mlflow.transformers, python_version: '3'}\n"
        "  transformers: {code: null, model_binary: model}\nmetadata: {phi3: {wrapper: transformers}}\n"
    )

    declared_environment.check_code(folder, "phi3/1")


def test_a_library_that_its_weights_name_is_not_loaded(settings: Settings, version: str, folder: Path) -> None:
    (folder / "artifacts" / "phi3-mini-onnx" / "genai_config.json").write_text('{"custom_ops_library": "evil.so"}')

    with pytest.raises(Forbidden, match="phi3/1 can't be opened without running code"):
        declared_environment.run_trial(settings, mlflow_client(settings).create_run("0").info.run_id, version, print)


def test_an_environment_that_cant_be_made_says_what_uv_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UV_OFFLINE", "1")
    monkeypatch.setenv("UV_CACHE_DIR", str(tmp_path / "empty"))

    with pytest.raises(BuildError, match="Its environment can't be made: uv says"):
        declared_environment.install(["numpy==2.4.6"], tmp_path)


def test_a_version_that_does_not_load_there_says_where_and_why_and_reads_nothing_of_the_app(
    settings: Settings, version: str, tmp_path: Path
) -> None:
    import sys

    (tmp_path / "secrets.toml").write_text("key")
    code, work = tmp_path / "broken" / "code", tmp_path / "work"
    code.mkdir(parents=True)
    work.mkdir()
    (code / "mine.py").write_text(
        f"def _load_pyfunc(_):\n    open({str(tmp_path / 'secrets.toml')!r})\n    raise OSError('read')"
    )
    (code.parent / "MLmodel").write_text("flavors: {python_function: {loader_module: mine, code: code}}")
    found = reader.get_version(settings, version)

    with pytest.raises(BuildError, match="does not answer in its own environment") as raised:
        declared_environment.ask(Path(sys.executable), code.parent, found, ["numpy==2"], work)

    assert ("Permission denied" in str(raised.value)) == (not why_none())
