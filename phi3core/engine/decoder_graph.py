"""The graph of an ONNX folder's decoder: can plain onnxruntime run it over keys and values that we hold?

It can where one graph takes token ids, an attention mask and the keys and values so far, and GroupQueryAttention writes
the new ones into the same memory: what onnxruntime-genai's builder makes for CPUs.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

IDS, MASK, LOGITS = "input_ids", "attention_mask", "logits"
POSITIONS = "phi3/positions"
"""Of a piece's tokens, those whose logits are computed: an input that the graph is given here."""
# Options of a session that change nothing of what is computed.
_HARMLESS = {"log_id", "provider_options", "intra_op_num_threads"}
# What may stand between the last matrix product and the logits: all of it works token by token.
_TOKENWISE = {"Add", "Cast", "Div", "Mul", "Tanh"}


@dataclass(frozen=True)
class DecoderGraph:
    """A graph that gives the logits of the tokens at `POSITIONS` alone.

    model: serialized; its weights lie in the folder. caches: the names of past and present, keys and values of every
    layer. heads, size: a token has so many vectors of so many float32 in each.
    """

    model: bytes
    caches: tuple[tuple[str, str], ...]
    heads: int
    size: int


def read_graph(folder: Path, config: dict[str, Any]) -> DecoderGraph | None:
    """The graph, ready to be loaded; None where it is of another kind. config: the folder's genai_config.json."""
    decoder = config["model"]["decoder"]
    if not config.get("search", {}).get("past_present_share_buffer") or "sliding_window" in decoder:
        return None
    session = decoder.get("session_options") or {}
    devices = {name.lower() for entry in session.get("provider_options") or [] for name in entry}
    if not session.keys() <= _HARMLESS or not devices <= {"cpu"} or decoder.get("pipeline"):
        return None
    import onnx

    model = onnx.load(str(folder / decoder["filename"]), load_external_data=False)
    if not all((folder / name).resolve().parent == folder.resolve() for name in _weight_files(model.graph)):
        return None  # links to elsewhere, which onnxruntime follows for a graph in a file alone
    caches = _caches(model.graph)
    taken = {value.name for value in model.graph.input}
    given = {value.name for value in model.graph.output}
    pasts, presents = {past for past, _ in caches}, {present for _, present in caches}
    if not caches or taken != {IDS, MASK, *pasts} or given != {LOGITS, *presents}:
        return None
    if not _named(decoder, caches):
        return None  # onnxruntime-genai, which the logged model runs on, goes by these names, and says what is wrong
    types = {value.name: value.type.tensor_type for value in [*model.graph.input, *model.graph.output]}
    ints, floats = onnx.TensorProto.INT64, onnx.TensorProto.FLOAT
    if any(types[name].elem_type != ints for name in (IDS, MASK)):
        return None
    if any(types[name].elem_type != floats for name in (LOGITS, *pasts)) or not _cut(model.graph):
        return None
    heads, size = int(decoder["num_key_value_heads"]), int(decoder["head_size"])
    return DecoderGraph(model.SerializeToString(), caches, heads, size)


def _named(decoder: dict[str, Any], caches: tuple[tuple[str, str], ...]) -> bool:
    """Whether the configuration calls what the graph takes and gives as the graph does."""
    inputs, outputs = decoder.get("inputs", {}), decoder.get("outputs", {})
    if (inputs.get("input_ids"), inputs.get("attention_mask"), outputs.get("logits")) != (IDS, MASK, LOGITS):
        return False
    expected = set()
    for kind in ("key", "value"):
        past, present = inputs.get(f"past_{kind}_names", ""), outputs.get(f"present_{kind}_names", "")
        expected |= {(past.replace("%d", f"{n}"), present.replace("%d", f"{n}")) for n in range(len(caches) // 2)}
    return set(caches) == expected


def _weight_files(graph: Any) -> set[str]:
    entries = (entry for tensor in graph.initializer for entry in tensor.external_data)
    return {entry.value for entry in entries if entry.key == "location"}


def _caches(graph: Any) -> tuple[tuple[str, str], ...]:
    """Past and present of every layer, by the attention that reads the one and writes the other."""
    pairs: list[tuple[str, str]] = []
    for node in graph.node:
        if node.op_type == "GroupQueryAttention":
            if any(node.input[9:11]):  # positions and a bias of its own, which go by more than the mask
                return ()
            pairs += zip(node.input[3:5], node.output[1:3], strict=True)
    return tuple(pairs)


def _cut(graph: Any) -> bool:
    """Have the last matrix product computed at `POSITIONS` alone; False where there is none to be found.

    A prompt needs its last token's, and over a large vocabulary it is a good part of a small model's work.
    """
    from onnx import TensorProto, helper

    makers = {output: node for node in graph.node for output in node.output}
    node = makers.get(LOGITS)
    while node is not None and node.op_type in _TOKENWISE:
        node = next((makers[name] for name in node.input if name in makers), None)
    if node is None or node.op_type not in ("MatMul", "MatMulNBits"):
        return False
    some, whole = "phi3/some_tokens", node.input[0]
    graph.input.append(helper.make_tensor_value_info(POSITIONS, TensorProto.INT64, ["positions"]))
    gather = helper.make_node("Gather", [whole, POSITIONS], [some], name=some, axis=1)
    graph.node.insert(list(graph.node).index(node), gather)
    node.input[0] = some
    return True
