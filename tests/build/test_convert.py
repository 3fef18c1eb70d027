from __future__ import annotations

import errno
import json
from dataclasses import replace
from pathlib import Path

import pytest

from phi3core.build import convert
from phi3core.build.sources.fetch import fetch_weights
from phi3core.build.sources.source import Weights, parse_source
from phi3core.engine.interface import Done
from phi3core.engine.weights import open_weights
from phi3core.errors import BadInput, BuildError
from tests.build.sources.test_source import quiet


@pytest.fixture
def weights(tiny: Path, tmp_path: Path) -> Weights:
    return fetch_weights(parse_source(str(tiny)), tmp_path / "cache", quiet)


def test_converted_weights_answer_and_are_converted_once(weights: Weights, tiny: Path, tmp_path: Path) -> None:
    log, told = tmp_path / "log", []
    (tiny / "generation_config.json").write_text(json.dumps({"do_sample": True, "repetition_penalty": 1.25}))

    def convert_it() -> Path:
        return convert.convert_to_onnx(
            weights, "int4", tmp_path / "cache", log, lambda share, text: told.append((share, text))
        )

    folder = convert_it()
    written = log.stat().st_size

    assert convert_it() == folder
    assert log.stat().st_size == written
    assert not (folder / "builder-cache").exists()
    assert json.loads((folder / "genai_config.json").read_text())["search"]["repetition_penalty"] == 1.25
    assert (0.2, "layer 1 of 2") in told
    shares = [share for share, _ in told if share is not None]
    assert shares == sorted(shares)
    engine = open_weights(folder, "onnx")
    *_, done = engine.stream("Hello", engine.options.but(max_tokens=4, temperature=0), lambda: False)
    assert done == Done(5, 4)


def test_a_damaged_conversion_is_made_again(weights: Weights, tmp_path: Path) -> None:
    made = convert.convert_to_onnx(weights, "fp32", tmp_path / "cache", tmp_path / "log", quiet)
    data = made / "model.onnx.data"
    whole = data.stat().st_size
    data.write_bytes(data.read_bytes()[:-100])

    again = convert.convert_to_onnx(weights, "fp32", tmp_path / "cache", tmp_path / "log", quiet)

    assert (again / "model.onnx.data").stat().st_size == whole


def test_onnx_weights_come_back_as_they_are(weights: Weights, tmp_path: Path) -> None:
    published = replace(weights, format="onnx")

    assert convert.convert_to_onnx(published, "whatever", tmp_path, tmp_path / "log", quiet) == weights.folder


def test_an_unknown_precision_is_refused(weights: Weights, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="“int3” is not one of int4"):
        convert.convert_to_onnx(weights, "int3", tmp_path, tmp_path / "log", quiet)


def test_a_model_that_the_converter_does_not_know_is_told_in_a_sentence(
    weights: Weights, tiny: Path, tmp_path: Path
) -> None:
    config = json.loads((tiny / "config.json").read_text())
    (tiny / "config.json").write_text(
        json.dumps({**config, "architectures": ["BloomForCausalLM"], "model_type": "bloom"})
    )

    with pytest.raises(BuildError, match="The converter could not convert this model: .+") as caught:
        convert.convert_to_onnx(weights, "int4", tmp_path / "cache", tmp_path / "log", quiet)

    assert "\n" not in str(caught.value)
    assert "Traceback" in (tmp_path / "log").read_text()
    assert [path for path in (tmp_path / "cache" / "onnx").iterdir() if path.is_dir()] == []


def test_a_killed_converter_is_explained_by_memory() -> None:
    with pytest.raises(BuildError, match="memory ran out"):
        convert._explain(-9, ["Reading layer 3"])


def test_a_converter_that_ran_out_of_disk_says_so() -> None:
    with pytest.raises(OSError, match="No space left") as caught:
        convert._explain(1, ["Traceback", "OSError: [Errno 28] No space left on device"])

    assert caught.value.errno == errno.ENOSPC
