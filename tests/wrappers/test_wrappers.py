"""The logged models as MLflow serves them: requests of the 2024 cookbook, through pyfunc and `mlflow models serve`."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from phi3core import folder_cache, hashing
from phi3core.registry import artifacts, reader
from tests.conftest import MODEL, ROOT, Built
from tests.support.fakes import until

pytestmark = pytest.mark.model

QUESTION = {"messages": [{"role": "user", "content": "What is the capital of Spain?"}]}
PROMPT = "<|system|>You are a stand-up comedian.<|end|><|user|>Tell me a joke<|end|><|assistant|>"
CHATML = "<|im_start|>user\nWhat is the capital of Spain?<|im_end|>\n<|im_start|>assistant\n"
GREEDY = {"temperature": 0.0, "max_tokens": 12}


@pytest.fixture
def pipeline(built: Built) -> Any:
    import mlflow

    return mlflow.pyfunc.load_model(built.transformers)


@pytest.fixture
def onnx(built: Built) -> Any:
    import mlflow

    return mlflow.pyfunc.load_model(built.onnx)


@pytest.fixture
def chat(built: Built) -> Any:
    import mlflow

    return mlflow.pyfunc.load_model(built.chat)


def folder_of(built: Built, number: int) -> Path:
    folder = artifacts.local_folder(built.settings, reader.get_version(built.settings, f"{MODEL}/{number}"))
    assert folder
    return folder


# ---------------------------------------------------------------- transformers


def test_the_pipeline_answers_the_cookbooks_chat_request(pipeline: Any) -> None:
    response = pipeline.predict({**QUESTION, "max_tokens": 16})

    assert response[0]["choices"][0]["message"]["content"].strip()
    usage = response[0]["usage"]
    assert 0 < usage["completion_tokens"] <= 16
    assert usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"]


def test_the_pipeline_is_logged_with_its_generation_options(built: Built) -> None:
    import mlflow

    info = mlflow.models.get_model_info(built.transformers)
    config = info.flavors["python_function"]["config"]

    assert {"max_new_tokens": 300, "do_sample": True, "temperature": 0.2, "repetition_penalty": 1.1}.items() <= (
        config.items()
    )
    assert info.metadata["task"] == "llm/v1/chat"
    assert "messages" in {column["name"] for column in info.signature.inputs.to_dict()}


# ---------------------------------------------------------------- ONNX, prompt → string


def test_one_prompt_gives_one_string(onnx: Any) -> None:
    answers = onnx.predict({"prompt": PROMPT})

    assert len(answers) == 1
    assert isinstance(answers[0], str)
    assert answers[0].strip()


def test_a_list_of_prompts_gives_a_string_for_each(onnx: Any) -> None:
    alone = [onnx.predict({"prompt": prompt}, params=GREEDY)[0] for prompt in (CHATML, "One, two,")]

    assert "Madrid" in alone[0]
    assert onnx.predict({"prompt": [CHATML, "One, two,"]}, params=GREEDY) == alone


def test_a_table_of_prompts_gives_a_string_for_each_row(onnx: Any) -> None:
    import pandas

    prompts = ["One, two,", CHATML, "One, two,"]

    answers = onnx.predict(pandas.DataFrame({"prompt": prompts}), params=GREEDY)

    assert len(answers) == 3
    assert answers[0] == answers[2] != answers[1]


def test_parameters_of_a_call_win_over_the_logged_ones(onnx: Any) -> None:
    short = onnx.predict({"prompt": CHATML}, params={"temperature": 0.0, "max_tokens": 2})[0]
    longer = onnx.predict({"prompt": CHATML}, params={"temperature": 0.0, "max_tokens": 8})[0]

    assert longer.startswith(short)
    assert len(longer) > len(short)


def test_a_stop_sequence_ends_the_answer_before_it(onnx: Any) -> None:
    whole = onnx.predict({"prompt": CHATML}, params=GREEDY)[0]
    assert "Madrid" in whole

    stopped = onnx.predict({"prompt": CHATML}, params={**GREEDY, "stop": ["Madrid"]})[0]

    assert stopped == whole[: whole.index("Madrid")]


def test_the_same_seed_gives_the_same_answer(onnx: Any) -> None:
    hot = {"temperature": 1.5, "max_tokens": 20, "seed": 7}

    first, second, other = (onnx.predict({"prompt": CHATML}, params={**hot, "seed": seed})[0] for seed in (7, 7, 8))

    assert first == second != other


def test_a_streamed_answer_is_the_whole_one_in_pieces(onnx: Any) -> None:
    pieces = list(onnx.predict_stream({"prompt": CHATML}, params=GREEDY))

    assert len(pieces) > 3
    assert "".join(pieces) == onnx.predict({"prompt": CHATML}, params=GREEDY)[0]


def test_streaming_several_prompts_at_once_is_refused(onnx: Any) -> None:
    with pytest.raises(Exception, match="one request at a time; this call holds 2"):
        list(onnx.predict_stream({"prompt": ["a", "b"]}))


@pytest.mark.parametrize(("prompt", "told"), [("", "The prompt is empty"), ("word " * 9000, "context holds 8192")])
def test_a_prompt_that_cant_be_answered_is_refused(onnx: Any, prompt: str, told: str) -> None:
    with pytest.raises(ValueError, match=told):
        onnx.predict({"prompt": prompt})


def test_the_signature_is_prompt_to_string_with_its_parameters(built: Built) -> None:
    import mlflow

    signature = mlflow.models.get_model_info(built.onnx).signature

    assert signature.inputs.to_dict() == [{"type": "string", "name": "prompt", "required": True}]
    assert signature.outputs.to_dict() == [{"type": "string", "required": True}]
    assert {param["name"]: param["default"] for param in signature.params.to_dict()} == {
        "max_tokens": 300,
        "temperature": 0.2,
        "top_p": 0.9,
        "top_k": 50,
        "repetition_penalty": 1.1,
        "seed": -1,
        "stop": [],
    }


# ---------------------------------------------------------------- ONNX, messages → chat completion


def test_the_chat_signature_takes_the_pipelines_requests(chat: Any) -> None:
    response = chat.predict({**QUESTION, "temperature": 0.0, "max_tokens": 12})

    choice = response[0]["choices"][0]
    assert "Madrid" in choice["message"]["content"]
    assert choice["message"]["role"] == "assistant"
    assert choice["finish_reason"] in ("stop", "length")
    usage = response[0]["usage"]
    assert usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"]


def test_a_chat_that_runs_into_its_limit_says_so(chat: Any) -> None:
    response = chat.predict({**QUESTION, "max_tokens": 1})

    assert response[0]["choices"][0]["finish_reason"] == "length"
    assert response[0]["usage"]["completion_tokens"] == 1


def test_a_streamed_chat_is_the_whole_one_in_chunks(chat: Any) -> None:
    request = {**QUESTION, "temperature": 0.0, "max_tokens": 12}

    chunks = list(chat.predict_stream(request))
    whole = chat.predict(request)[0]

    text = "".join(chunk["choices"][0]["delta"]["content"] for chunk in chunks)
    assert text == whole["choices"][0]["message"]["content"]
    assert chunks[-1]["choices"][0]["finish_reason"] == whole["choices"][0]["finish_reason"]
    assert chunks[-1]["usage"] == whole["usage"]
    assert len({chunk["id"] for chunk in chunks}) == 1


def test_a_chat_stops_at_a_stop_sequence(chat: Any) -> None:
    request = {**QUESTION, "temperature": 0.0, "max_tokens": 12}
    whole = chat.predict(request)[0]["choices"][0]["message"]["content"]

    choice = chat.predict({**request, "stop": ["Madrid"]})[0]["choices"][0]

    assert choice["message"]["content"] == whole[: whole.index("Madrid")]
    assert choice["finish_reason"] == "stop"


@pytest.mark.parametrize(
    ("extra", "told"),
    [({"n": 2}, "n > 1"), ({"presence_penalty": 0.5}, "presence_penalty"), ({"frequency_penalty": 1.0}, "frequency")],
)
def test_what_the_chat_cant_do_is_refused_by_name(chat: Any, extra: dict[str, Any], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        chat.predict({**QUESTION, **extra})


def test_the_chat_signature_takes_every_column_the_pipeline_requires(built: Built) -> None:
    import mlflow

    pipeline, chat = (mlflow.models.get_model_info(uri).signature for uri in (built.transformers, built.chat))

    assert "messages" in chat.inputs.input_names()
    assert set(chat.inputs.required_input_names()) == set(pipeline.inputs.required_input_names())


# ---------------------------------------------------------------- what is logged


@pytest.mark.parametrize("number", [2, 3])
def test_the_logged_onnx_model_holds_no_pickle_and_nothing_of_this_project(built: Built, number: int) -> None:
    files = [path for path in folder_of(built, number).rglob("*") if path.is_file()]

    assert not [path for path in files if path.suffix in (".pkl", ".pickle", ".bin", ".pt")]
    small = [path for path in files if path.stat().st_size < 1_000_000]
    texts = {path.name: path.read_text(errors="replace") for path in small}
    assert {"MLmodel", "onnx_model.py", "requirements.txt", "genai_config.json"} <= texts.keys()
    for name, text in texts.items():
        assert "phi3core" not in text, name
        assert str(ROOT) not in text, name
        assert str(built.settings.cache) not in text, name


def test_the_logged_code_is_the_template_as_it_is(built: Built) -> None:
    template = ROOT / "phi3core" / "wrappers" / "onnx_model.py"

    (logged,) = folder_of(built, 2).rglob("onnx_model.py")

    assert logged.read_text() == template.read_text()


def test_the_weights_are_the_artifact_phi3_mini_onnx(built: Built) -> None:
    (weights,) = folder_of(built, 2).rglob("genai_config.json")

    assert weights.parent.name == "phi3-mini-onnx"


def test_the_requirements_are_pinned_and_few(built: Built) -> None:
    lines = (folder_of(built, 2) / "requirements.txt").read_text().split()

    assert [line.partition("==")[0] for line in lines] == ["mlflow", "onnxruntime-genai", "numpy"]
    assert all("==" in line for line in lines)


def test_a_registered_onnx_version_answers_where_only_its_own_requirements_are(
    built: Built, cache: Path, tmp_path: Path
) -> None:
    folder = folder_of(built, 2)
    requirements = folder / "requirements.txt"

    def make(part: Path) -> None:
        subprocess.run([sys.executable, "-m", "venv", str(part)], check=True)
        install = [part / "bin" / "python", "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        subprocess.run([*install, "--no-compile", "-r", str(requirements)], check=True)

    # The virtual environment holds these requirements and nothing else, so it is kept for as long as they stay.
    venv = folder_cache.get_or_make(cache, "venvs", hashing.hash_texts(requirements.read_text(), sys.version), make)
    moved = shutil.copytree(folder, tmp_path / "elsewhere", copy_function=os.link)
    code = (
        "import sys, mlflow\n"
        "model = mlflow.pyfunc.load_model(sys.argv[1])\n"
        "print(model.predict({'prompt': sys.argv[2]}, params={'temperature': 0.0, 'max_tokens': 12})[0])\n"
        "from importlib.util import find_spec\n"
        "print([name for name in ('phi3core', 'torch', 'transformers') if find_spec(name)])"
    )

    done = subprocess.run(
        [venv / "bin" / "python", "-I", "-c", code, str(moved), CHATML],
        cwd=tmp_path,
        env={"PATH": os.environ["PATH"], "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=120,
    )

    assert done.returncode == 0, done.stderr
    *answer, others = done.stdout.strip().splitlines()
    assert "Madrid" in "\n".join(answer)
    assert others == "[]"


# ---------------------------------------------------------------- mlflow models serve


@dataclass
class Served:
    """A running `mlflow models serve`."""

    url: str
    log: Path
    process: subprocess.Popen[bytes]

    def invoke(self, body: dict[str, Any]) -> Any:
        request = urllib.request.Request(
            f"{self.url}/invocations", json.dumps(body).encode(), {"Content-Type": "application/json"}
        )
        with urllib.request.urlopen(request, timeout=120) as answer:
            return json.load(answer)

    def up(self) -> bool:
        assert self.process.poll() is None, self.log.read_text()
        try:
            with urllib.request.urlopen(f"{self.url}/ping", timeout=2) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False


@pytest.fixture(scope="module")
def served(built_once: Built, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[int, Served]]:
    """Version 1 and version 2, each behind `mlflow models serve`, started side by side."""
    logs = tmp_path_factory.mktemp("served")
    running = {number: _serve(built_once, number, logs / f"{number}.log") for number in (1, 2)}
    try:
        for server in running.values():
            until(server.up, 120)
        yield running
    finally:
        for server in running.values():
            with contextlib.suppress(ProcessLookupError):
                os.killpg(server.process.pid, signal.SIGKILL)
            server.process.wait()


def _serve(built: Built, number: int, log: Path) -> Served:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "mlflow", "models", "serve", "-m", f"models:/{MODEL}/{number}"]
    command += ["--env-manager", "local", "-h", "127.0.0.1", "-p", str(port)]
    with log.open("wb") as file:
        process = subprocess.Popen(
            command,
            stdout=file,
            stderr=subprocess.STDOUT,
            cwd=log.parent,
            env={
                **{name: value for name, value in os.environ.items() if not name.startswith("MLFLOW_")},
                "MLFLOW_TRACKING_URI": built.settings.tracking_uri,
                "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            },
            start_new_session=True,
        )
    return Served(f"http://127.0.0.1:{port}", log, process)


def test_mlflow_serves_the_pipeline_with_the_cookbooks_request(served: dict[int, Served]) -> None:
    response = served[1].invoke({**QUESTION, "max_tokens": 16})

    assert response[0]["choices"][0]["message"]["content"].strip()
    assert 0 < response[0]["usage"]["completion_tokens"] <= 16


@pytest.mark.parametrize(
    "body",
    [
        {"inputs": {"prompt": CHATML}},
        {"inputs": {"prompt": [CHATML]}},
        {"dataframe_split": {"columns": ["prompt"], "data": [[CHATML]]}},
    ],
    ids=["string", "list", "table"],
)
def test_mlflow_serves_the_onnx_version_with_the_cookbooks_request(
    served: dict[int, Served], body: dict[str, Any]
) -> None:
    response = served[2].invoke({**body, "params": GREEDY})

    (answer,) = response["predictions"]
    assert "Madrid" in answer


def test_mlflow_tells_why_a_prompt_was_refused(served: dict[int, Served]) -> None:
    with pytest.raises(urllib.error.HTTPError) as caught:
        served[2].invoke({"inputs": {"prompt": ""}})

    assert caught.value.code >= 400
    assert "The prompt is empty" in caught.value.read().decode()
