"""Looks at a source before it is built: reads configurations and headers, and loads no weights.

Run as ``python -m phi3core.build.source_inspector SOURCE BASE`` it prints what it found as a line of JSON.
"""

from __future__ import annotations

import json
import math
import os
import shutil
import sys
import tempfile
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Literal

from phi3core.build.sources import adapter
from phi3core.build.sources.listing import list_source
from phi3core.build.sources.readable import modern_config, read_old_tokenizer
from phi3core.build.sources.source import Listing, Report, Source, parse_source
from phi3core.engine.json_file import read_config
from phi3core.engine.load_failure import explain_transformers, first_line
from phi3core.engine.weight_files import ADAPTER, check_listing, check_weights, has_template
from phi3core.engine.weight_headers import check_safetensors
from phi3core.errors import BadInput, BaseNeeded, Phi3Error, SourceError
from phi3core.parent_process import on_parent_exit
from phi3core.settings import Settings, load_settings

from .fit import check_fit
from .inspection import Inspection, Outlook

_GB = 10**9
_INT4 = 0.8  # bytes a parameter takes at int4, embeddings and scales counted
_HALF = 2  # and in bfloat16
_LENGTHS = ("max_position_embeddings", "n_positions", "seq_length", "max_seq_len")


def inspect(text: str, base: str, config: Settings, report: Report) -> Inspection:
    """Say what a source is and what each wrapper would make of it.

    Args:
        text: a folder or ``hf:owner/repo[@revision][/folder]``.
        base: the source of what an adapter is merged into; empty takes what it names.
        config: whose home the build would use.
        report: told what is being done.

    Raises:
        BaseNeeded: it is an adapter, and its base is not named or can't be had.
        Phi3Error: nothing can be built of it; the sentence says why and what to do instead.
    """
    source = parse_source(text)
    if source.kind == "embedded":
        raise BadInput("The embedded model needs no looking at: both wrappers build it.")
    listing, found = _look(source, base, report, ())
    report(None, "asking the libraries")
    free = shutil.disk_usage(config.home).free
    return replace(found, outlooks=_outlooks(listing, found), disk_free=free, memory_free=_free_memory())


def _look(source: Source, base: str, report: Report, above: tuple[Source, ...]) -> tuple[Listing, Inspection]:
    """The files of the model, an adapter's base, and what it is; above are the adapters that are merged into it."""
    listing = list_source(source, report)
    try:
        if ADAPTER in listing.names:
            return _look_below(listing, base, report, (*above, source))
        if base:
            raise BadInput(f"{source} is a model and no adapter: leave the base out.")
        report(None, "reading its configuration")
        return listing, replace(_describe(source, listing), source=str(source))
    except Phi3Error as error:
        if listing.is_here:
            raise
        # The folder of a repository's small files means nothing to its reader.
        raise type(error)(str(error).replace(str(listing.folder), str(source))) from error


def _look_below(
    listing: Listing, base: str, report: Report, adapters: tuple[Source, ...]
) -> tuple[Listing, Inspection]:
    adapter.check_adapter_listing(listing.folder, listing.names)
    if listing.is_here:
        adapter.check_adapter(listing.folder)
    below = parse_source(base or adapter.read_base(listing.folder))
    adapter.check_chain(adapters, below)
    report(None, f"looking at its base, {below}")
    try:
        model, found = _look(below, "", report, adapters)
    except Phi3Error as error:
        why = str(error).removesuffix(adapter.NAME_IT).rstrip()
        raise BaseNeeded(f"The adapter's base can't be had. {why} {adapter.NAME_IT}") from error
    if found.format != "transformers":
        raise BaseNeeded(
            f"An adapter is merged into weights of Transformers, and {below} holds ONNX. {adapter.NAME_IT}"
        )
    return model, replace(
        found,
        source=str(adapters[-1]),
        revision=listing.revision,
        licence=listing.licence if listing.licence != "unknown" else found.licence,
        template=found.template or has_template(listing.folder),
        base=str(below),
    )


# ---------------------------------------------------------------- what it is


def _describe(source: Source, listing: Listing) -> Inspection:
    if listing.variants and not listing.names & {"config.json", "genai_config.json"}:
        raise BadInput(_choose_variant(source, listing.variants))
    form, weights = check_listing(listing.folder, listing.names)
    if listing.is_here:
        check_weights(listing.folder)
    if "tokenizer.json" not in listing.names:
        read_old_tokenizer(listing.folder)
    try:
        return _read(listing, form, weights)
    except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:  # JSON of another shape
        raise SourceError(
            f"The configuration in {listing.folder} makes no sense ({error}). Copy the model again."
        ) from error


def _choose_variant(source: Source, variants: tuple[str, ...]) -> str:
    first = sorted(variants, key=lambda name: "cpu" not in name)[:4]
    named = ", ".join(str(replace(source, path=name)) for name in first)
    return (
        f"{source} holds its ONNX models in folders. Choose one (without a GPU one with cpu in its name): {named}"
        f"{' …' if len(variants) > 4 else ''}."
    )


def _read(listing: Listing, form: Literal["transformers", "onnx"], weights: list[str]) -> Inspection:
    config = read_config(listing.folder / ("config.json" if form == "transformers" else "genai_config.json"))
    if form == "onnx":
        model = config["model"]
        architecture, context = str(model.get("type") or "ONNX"), model.get("context_length")
        size = sum(length for name, length in listing.sizes.items() if ".onnx" in name)
        parameters = None
    else:
        text = config.get("text_config") or config
        architecture = str((config.get("architectures") or [config.get("model_type")])[0])
        context = next((text[key] for key in _LENGTHS if key in text), None)
        size = sum(listing.sizes[name] for name in weights)
        parameters = _count(listing.folder, weights) if listing.is_here else listing.parameters
        if config.get("quantization_config"):
            parameters = None  # they are packed: what is stored are fewer numbers
    return Inspection(
        source="",
        format=form,
        architecture=architecture,
        revision=listing.revision,
        parameters=parameters,
        size=size,
        context=int(context) if context else None,
        licence=listing.licence,
        template=has_template(listing.folder),
    )


def _count(folder: Path, weights: list[str]) -> int:
    """The numbers that the weights are, as their headers tell."""
    headers = (check_safetensors(folder / name) for name in weights)
    return sum(math.prod(tensor["shape"]) for header in headers for tensor in header.values())


# ---------------------------------------------------------------- what becomes of it


def _outlooks(listing: Listing, found: Inspection) -> tuple[Outlook, ...]:
    refused = {"onnx": "", "transformers": _ask_transformers(listing) if found.format == "transformers" else ""}
    # What a build fetches, and for an adapter the model that both make together.
    before = (0 if listing.is_here else found.size) + (found.size if found.base else 0)
    return tuple(_outlook(listing, found, wrapper, refused[wrapper], before) for wrapper in refused)


def _outlook(listing: Listing, found: Inspection, wrapper: str, refused: str, before: int) -> Outlook:
    try:
        check_fit(listing.folder, found.format, wrapper, "prompt")
    except BadInput as error:
        return Outlook(wrapper, problem=str(error))
    if refused:
        return Outlook(wrapper, problem=refused)
    numbers = found.parameters or found.size // _HALF
    if wrapper == "transformers":
        takes = "chat messages" if found.template else "prompts, because it has no chat template"
        made = numbers * _HALF
        return Outlook(
            wrapper, f"A pipeline in bfloat16 that takes {takes}.", "", before + 2 * made, int(1.25 * made) + 2 * _GB
        )
    takes = "a prompt or chat messages, as you choose" if found.template else "a prompt: it has no chat template"
    if found.format == "onnx":
        makes = f"Logged as it was published; takes {takes}."
        return Outlook(wrapper, makes, "", before + 2 * found.size, int(1.2 * found.size) + _GB)
    makes = f"Converted, at int4 unless you choose otherwise; takes {takes}."
    return Outlook(wrapper, makes, "", before + int(4 * numbers * _INT4), 3 * found.size + _GB)


def _ask_transformers(listing: Listing) -> str:
    """Why Transformers would refuse the configuration; empty where it takes it."""
    from transformers import AutoConfig
    from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES as CAUSAL
    from transformers.quantizers.auto import AutoHfQuantizer

    try:
        with tempfile.TemporaryDirectory() as alone:
            (Path(alone) / "config.json").write_text(json.dumps(modern_config(listing.folder)))
            config: Any = AutoConfig.from_pretrained(alone, trust_remote_code=False)
        if config.model_type not in CAUSAL:
            return f"It is no causal language model ({config.model_type}). Choose a text-generation model."
        if quantised := getattr(config, "quantization_config", None):
            AutoHfQuantizer.from_config(quantised, pre_quantized=True).validate_environment(device_map=None)
    except Exception as error:  # the libraries have no common base
        known = explain_transformers(listing.folder, error)
        return known or f"Transformers does not take its configuration: {first_line(error)} Copy the model again."
    return ""


def _free_memory() -> int:
    import psutil

    return int(psutil.virtual_memory().available)


def main(source: str, base: str) -> None:
    """The body of the child process: print one line of JSON, what was found or why nothing can be built of it."""
    on_parent_exit(lambda: os._exit(1))
    try:
        told: dict[str, Any] = asdict(inspect(source, base, load_settings(), lambda *_: None))
    except Phi3Error as error:
        told = {"problem": str(error), "base_needed": isinstance(error, BaseNeeded)}
    print(json.dumps(told))


if __name__ == "__main__":
    main(*sys.argv[1:3])
