"""A small ONNX folder."""

from __future__ import annotations

import json
from pathlib import Path

import pytest


@pytest.fixture
def onnx_folder(tmp_path: Path) -> Path:
    """A small graph with its tensor in a file beside it: what the check looks at, without a language model."""
    import numpy
    import onnx
    from onnx import helper, numpy_helper

    folder = tmp_path / "onnx"
    folder.mkdir()
    tensor = numpy_helper.from_array(numpy.arange(1024, dtype=numpy.float32), "weights")
    output = helper.make_tensor_value_info("out", onnx.TensorProto.FLOAT, [1024])
    node = helper.make_node("Identity", ["weights"], ["out"])
    model = helper.make_model(helper.make_graph([node], "small", [], [output], [tensor]))
    onnx.save(model, folder / "model.onnx", save_as_external_data=True, location="model.onnx.data", size_threshold=0)
    (folder / "genai_config.json").write_text(json.dumps({"model": {"decoder": {"filename": "model.onnx"}}}))
    (folder / "tokenizer.json").write_text("{}")
    return folder
