"""Which folders plain onnxruntime can run, told by their graph and configuration."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import onnx
import pytest

from phi3core.engine.decoder_graph import read_graph
from phi3core.engine.onnx import OnnxRuntime

Change = Callable[[Any], object]


def config_of(folder: Path) -> dict[str, Any]:
    config: dict[str, Any] = json.loads((folder / "genai_config.json").read_text())
    return config


def with_graph(folder: Path, home: Path, change: Change) -> Path:
    """A folder with this graph, changed."""
    model = onnx.load(folder / "model.onnx", load_external_data=False)
    change(model.graph)
    home.mkdir()
    (home / "model.onnx").write_bytes(model.SerializeToString())
    return home


def attention(graph: Any) -> Any:
    return next(node for node in graph.node if node.op_type == "GroupQueryAttention")


def with_positions(graph: Any) -> None:
    graph.input.append(onnx.helper.make_tensor_value_info("position_ids", onnx.TensorProto.INT64, ["rows", "tokens"]))


def with_another_output(graph: Any) -> None:
    graph.output.append(onnx.helper.make_tensor_value_info("hidden", onnx.TensorProto.FLOAT, ["rows", "tokens", 64]))


def in_halves(graph: Any) -> None:
    next(one for one in graph.input if one.name.endswith("key")).type.tensor_type.elem_type = onnx.TensorProto.FLOAT16


def without_a_last_product(graph: Any) -> None:
    next(node for node in graph.node if "logits" in node.output).op_type = "Gemm"


def test_what_the_builder_makes_is_understood(tiny_onnx: Path) -> None:
    graph = read_graph(tiny_onnx, config_of(tiny_onnx))

    assert graph
    assert (len(graph.caches), graph.heads, graph.size) == (4, 2, 16)
    assert graph.caches[:2] == (
        ("past_key_values.0.key", "present.0.key"),
        ("past_key_values.0.value", "present.0.value"),
    )
    assert OnnxRuntime(tiny_onnx).batched


@pytest.mark.parametrize(
    "change",
    [
        lambda config: config["search"].update(past_present_share_buffer=False),
        lambda config: config.pop("search"),
        lambda config: config["model"]["decoder"].update(sliding_window={"window_size": 24}),
        lambda config: config["model"]["decoder"]["session_options"].update(provider_options=[{"cuda": {}}]),
        lambda config: config["model"]["decoder"]["session_options"].update(custom_ops_library="own.so"),
    ],
)
def test_a_folder_that_asks_for_more_is_left_to_onnxruntime_genai(tiny_onnx: Path, change: Change) -> None:
    config = config_of(tiny_onnx)
    change(config)

    assert read_graph(tiny_onnx, config) is None


@pytest.mark.parametrize(
    "change",
    [
        with_positions,
        with_another_output,
        in_halves,
        without_a_last_product,
        lambda graph: attention(graph).input.__setitem__(10, "input_ids"),
        lambda graph: setattr(attention(graph), "op_type", "MultiHeadAttention"),
    ],
)
def test_another_graph_is_left_to_onnxruntime_genai(tiny_onnx: Path, tmp_path: Path, change: Change) -> None:
    unchanged = with_graph(tiny_onnx, tmp_path / "same", lambda graph: None)
    changed = with_graph(tiny_onnx, tmp_path / "changed", change)

    assert read_graph(unchanged, config_of(tiny_onnx))
    assert read_graph(changed, config_of(tiny_onnx)) is None


def test_weights_that_are_links_are_left_to_onnxruntime_genai(tiny_onnx: Path, tmp_path: Path) -> None:
    for file in tiny_onnx.iterdir():
        (tmp_path / file.name).symlink_to(file)
    runtime = OnnxRuntime(tmp_path)

    assert (runtime.batched, runtime.slots) == (False, 0)
    assert runtime.sequence(20)


def test_a_product_that_is_scaled_and_capped_afterwards_is_cut_too(tiny_onnx: Path, tmp_path: Path) -> None:
    """As Gemma's is."""

    def capped(graph: Any) -> None:
        product = next(node for node in graph.node if "logits" in node.output)
        product.output[0] = "uncapped"
        graph.node.append(onnx.helper.make_node("Tanh", ["uncapped"], ["logits"]))

    graph = read_graph(with_graph(tiny_onnx, tmp_path / "capped", capped), config_of(tiny_onnx))

    assert graph
    product = next(node for node in onnx.load_from_string(graph.model).graph.node if "uncapped" in node.output)
    assert product.input[0] == "phi3/some_tokens"


@pytest.mark.parametrize(
    ("part", "name"),
    [("inputs", "input_ids"), ("inputs", "past_value_names"), ("outputs", "logits"), ("outputs", "present_key_names")],
)
def test_a_graph_that_its_configuration_names_otherwise_is_left_to_genai(tiny_onnx: Path, part: str, name: str) -> None:
    config = config_of(tiny_onnx)
    config["model"]["decoder"][part][name] = "nothing"

    assert read_graph(tiny_onnx, config) is None
