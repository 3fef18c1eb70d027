"""Transformers weights to an ONNX Runtime GenAI folder, by onnxruntime-genai's own model builder.

The builder runs in a child process (it holds several times the model in memory and prints pages), in a cell, for the
weights may be a stranger's; its output goes to a log. Results are cached under what they were made from.
"""

from __future__ import annotations

import errno
import json
import re
import shutil
import subprocess
from pathlib import Path

from phi3core import folder_cache, hashing
from phi3core.build.sources.source import Report, Weights
from phi3core.cell import environment, run
from phi3core.cell.cell import Cell
from phi3core.engine.weight_files import check_weights
from phi3core.errors import BadInput, BuildError
from phi3core.installed import genai_version
from phi3core.links import linked_files

_INT4 = ["accuracy_level=4"]
# For each precision, the builder's own and its extra options.
_OPTIONS: dict[str, tuple[str, list[str]]] = {
    "int4": ("int4", _INT4),
    "int4-mixed": ("int4", [*_INT4, "algo_config=k_quant_mixed"]),
    "int8": ("int8", ["accuracy_level=4"]),
    "fp32": ("fp32", []),
}
ONNX_PRECISIONS = tuple(_OPTIONS)
"""What the builder writes for a CPU. int4 rounds every layer to nearest, as Microsoft publishes Phi-3;
int4-mixed keeps the sensitive layers at 8 bits: more exact, slower to make (docs/decisions/0003)."""
BLOCK, BLOCKS = 32, (16, 32, 64, 128)
"""How many numbers share a scale at 4 bits: the default, as Microsoft publishes Phi-3, and what can be chosen."""
IN_BLOCKS = ("int4", "int4-mixed")
"""The precisions for which that can be chosen."""


def convert_to_onnx(
    weights: Weights, precision: str, cache: Path, log: Path, report: Report, block: int = BLOCK
) -> Path:
    """The ONNX folder of these weights at this precision; weights that are ONNX already come back as they are.

    Raises BadInput (unknown precision) or BuildError (the builder failed; its log says why).
    """
    if weights.format == "onnx":
        return weights.folder
    if precision not in ONNX_PRECISIONS:
        raise BadInput(f"ONNX precision “{precision}” is not one of {', '.join(ONNX_PRECISIONS)}.")
    extra = _extra(weights.folder, precision, block)
    key = hashing.hash_texts("onnx", weights.key, precision, *extra, genai_version())
    return folder_cache.get_or_make(
        cache, "onnx", key, lambda part: _build(weights.folder, part, precision, extra, log, report), check_weights
    )


def _build(source: Path, target: Path, precision: str, extra: list[str], log: Path, report: Report) -> None:
    cache = target / "builder-cache"
    cache.mkdir()
    read = _with_windows(source, target / "builder-source") if _slides(source) else source
    arguments = ["-o", str(target), "-i", str(read), "-p", _OPTIONS[precision][0], "-e", "cpu", "-c", str(cache)]
    if extra:
        arguments += ["--extra_options", *extra]
    shut_in = Cell((source, *linked_files(source)), target, home=cache.name)
    command = run.command(shut_in, "onnxruntime_genai.models.builder", arguments)
    layers = int(json.loads((source / "config.json").read_text()).get("num_hidden_layers") or 0)
    report(0.0, "starting the converter")
    tail: list[str] = []
    with (
        log.open("ab") as file,
        subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            env=environment.allowed(str(cache)) | {"PYTHONUNBUFFERED": "1"},
        ) as child,
    ):
        assert child.stdout
        try:
            for line in child.stdout:
                file.write(line)
                tail = [*tail[-40:], line.decode(errors="replace").strip()]
                _report_line(tail[-1], layers, report)
        except BaseException:
            child.kill()
            raise
    if child.returncode:
        _explain(child.returncode, tail, "quantization_config" in json.loads((source / "config.json").read_text()))
    for folder in ("builder-cache", "builder-source"):
        shutil.rmtree(target / folder, ignore_errors=True)
    _keep_repetition_penalty(source, target)
    check_weights(target)


def _extra(source: Path, precision: str, block: int) -> list[str]:
    blocks = [f"block_size={block}"] if precision in IN_BLOCKS else []
    # A cache no longer than the window could not be rewound: what slid out would be gone.
    windows = ["windowed_kv_cache=false"] if _slides(source) else []
    own = _OPTIONS[precision][1]
    return [*own[:1], *blocks, *own[1:], *windows]


def _slides(source: Path) -> bool:
    """Whether every layer has a sliding window without the configuration naming the layers, as Phi-3-mini-4k's."""
    config = json.loads((source / "config.json").read_text())
    return config.get("model_type") in ("phi3", "mistral") and bool(
        config.get("sliding_window") and not config.get("layer_types")
    )


def _with_windows(source: Path, folder: Path) -> Path:
    """The source by links, its configuration naming the layers: the builder leaves the window out of all others."""
    folder.mkdir()
    for file in source.iterdir():
        (folder / file.name).symlink_to(file.resolve())
    config = json.loads((source / "config.json").read_text())
    config["layer_types"] = ["sliding_attention"] * config["num_hidden_layers"]
    (folder / "config.json").unlink()
    (folder / "config.json").write_text(json.dumps(config))
    return folder


def _keep_repetition_penalty(source: Path, target: Path) -> None:
    """The builder carries temperature, top_p and top_k over from generation_config.json, but not this one."""
    generation = source / "generation_config.json"
    penalty = json.loads(generation.read_text()).get("repetition_penalty") if generation.is_file() else None
    if penalty:
        path = target / "genai_config.json"
        config = json.loads(path.read_text())
        config["search"]["repetition_penalty"] = penalty
        path.write_text(json.dumps(config, indent=4))


def _report_line(line: str, layers: int, report: Report) -> None:
    """The builder names each layer as it reads it; saving and quantizing come after the last."""
    if found := re.search(r"Reading (?:decoder )?layer (\d+)", line):
        layer = int(found.group(1)) + 1
        report(0.4 * layer / max(layers, layer), f"layer {layer} of {max(layers, layer)}")
    elif "Saving ONNX model" in line:
        report(0.4, "quantizing and saving")
    elif found := re.match(r"Progress: .*?([\d.]+)%", line):
        report(0.4 + 0.4 * float(found.group(1)) / 100, f"quantizing, {float(found.group(1)):.0f} %")


def _explain(code: int, tail: list[str], quantised: bool = False) -> None:
    text = "\n".join(tail)
    if "No space left on device" in text:
        raise OSError(errno.ENOSPC, "No space left on device")
    if code < 0:
        raise BuildError(
            f"The converter was killed (signal {-code}), most likely because memory ran out: it needs about three "
            "times the size of the weights. Close other programs or use a machine with more memory."
        )
    last = next((line for line in reversed(tail) if line), "it printed nothing")
    other = "Build it with the Transformers wrapper, or choose an ONNX version of it that others have made."
    if quantised:
        other = "Its weights are quantised: choose those that it was made from, which the conversion rounds itself."
    raise BuildError(f"The converter could not convert this model: {last[:300].rstrip('. ')}. {other}")
