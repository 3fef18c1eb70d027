"""LoRA adapters: which base one belongs to, and the model that both make together, merged by peft."""

from __future__ import annotations

import re
import shutil
from collections.abc import Sequence, Set
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

from phi3core import folder_cache, hashing
from phi3core.engine.json_file import read_config
from phi3core.engine.load_failure import first_line
from phi3core.engine.weight_files import ADAPTER, check_weights, has_template, has_tokenizer
from phi3core.engine.weight_headers import check_safetensors
from phi3core.errors import BaseNeeded, BuildError, SourceError

from .source import Report, Source, Weights

_WEIGHTS, _NOTE = "adapter_model.safetensors", "adapter-note.txt"
_TOKENIZER_FILES = (
    "tokenizer*", "special_tokens_map.json", "added_tokens.json", "chat_template.*", "vocab.json", "merges.txt",
    "*.model",
)  # fmt: skip
_EMBEDDINGS = ("embed_tokens.weight", "lm_head.weight", "wte.weight")
NAME_IT = "Name the base (in a terminal with --base): a folder or hf:owner/repo."


def is_adapter(folder: Path) -> bool:
    """Whether a folder holds an adapter, which is no model by itself."""
    return (folder / ADAPTER).is_file()


def check_adapter(folder: Path) -> None:
    """Raise SourceError for an adapter that can't be merged into a model, or whose file is not whole."""
    check_adapter_listing(folder, {path.name for path in folder.iterdir()})
    check_safetensors(folder / _WEIGHTS)


def check_adapter_listing(folder: Path, names: Set[str]) -> None:
    """The same by its configuration and the names of its files; the weights need not be in the folder."""
    config = read_config(folder / ADAPTER)
    kind, task = config.get("peft_type"), config.get("task_type") or "CAUSAL_LM"
    if task != "CAUSAL_LM":
        raise SourceError(f"{folder} is an adapter for the task {task}. Choose one for text generation (CAUSAL_LM).")
    if kind not in ("LORA", "LOHA", "LOKR", "IA3", "OFT", "BOFT", "HRA", "VERA", "FOURIERFT"):
        raise SourceError(f"{folder} is an adapter of the kind {kind}, which can't be merged into a model. Use a LoRA.")
    if _WEIGHTS not in names and "adapter_model.bin" in names:
        raise SourceError(
            f"{folder} holds pickled weights (adapter_model.bin) only, and loading those can run code. Use a revision "
            "with safetensors."
        )
    if _WEIGHTS not in names:
        raise SourceError(f"The weight file {folder / _WEIGHTS} is missing. Copy or download the adapter again.")


def read_base(folder: Path) -> str:
    """The source of the base that an adapter names, as `parse_source` reads it. Raises BaseNeeded if it names none."""
    config = read_config(folder / ADAPTER)
    named = str(config.get("base_model_name_or_path") or "")
    revision = str(config.get("revision") or "")
    if named and Path(named).expanduser().is_dir():
        return named
    if re.fullmatch(r"[\w-][\w.-]*/[\w-][\w.-]*", named):
        return f"hf:{named}" + (f"@{revision.replace('/', '%2F')}" if revision else "")
    if not named:
        raise BaseNeeded(f"This adapter does not say which model it was made for. {NAME_IT}")
    raise BaseNeeded(f"This adapter was made for {named}, which is not on this machine. {NAME_IT}")


def check_chain(above: Sequence[Source], below: Source) -> None:
    """Raise BaseNeeded where an adapter's base is the adapter itself, or one that is merged into it in turn.

    Args:
        above: the adapters, each of which names the next as its base.
        below: what the last of them names.
    """
    if below == above[-1]:
        raise BaseNeeded(f"{below} is an adapter and can't be its own base. {NAME_IT}")
    if below in above:
        named = " and ".join(map(str, above[above.index(below) :]))
        raise BaseNeeded(f"{named} are adapters that name each other as their base: there is no model. {NAME_IT}")


def merge(adapter: Weights, base: Weights, cache: Path, report: Report) -> Weights:
    """The model that an adapter and its base make together, as plain weights.

    Raises:
        SourceError: the two do not belong together, or the adapter can't be merged.
    """
    if base.format != "transformers":
        raise SourceError(
            f"An adapter is merged into weights of Transformers, and {base.source} holds ONNX. Name the original model "
            "as its base."
        )
    key = hashing.hash_texts("merged", adapter.key, base.key, version("peft"))
    folder = folder_cache.get_or_make(
        cache, "merged", key, lambda part: _merge(adapter.folder, base.folder, part, report), check_weights
    )
    licence = adapter.licence if adapter.licence != "unknown" else base.licence
    note = (folder / _NOTE).read_text() if (folder / _NOTE).is_file() else ""
    return replace(
        adapter, folder=folder, licence=licence, key=key, base=base.source, base_revision=base.revision, note=note
    )


def _merge(adapter: Path, base: Path, target: Path, report: Report) -> None:
    from peft import PeftModel, get_peft_model_state_dict
    from transformers import AutoModelForCausalLM

    report(0.1, "loading the base")
    tensors = check_safetensors(adapter / _WEIGHTS)
    try:
        model: Any = AutoModelForCausalLM.from_pretrained(
            base, dtype="auto", use_safetensors=True, trust_remote_code=False
        )
        if rows := _vocabulary(tensors):  # tokens were added when it was trained
            model.resize_token_embeddings(rows, mean_resizing=False)
        report(0.4, "merging the adapter")
        joined: Any = PeftModel.from_pretrained(model, str(adapter))
        wanted = set(get_peft_model_state_dict(joined, save_embedding_layers=False))
        lacking = sorted(wanted - set(tensors))
        foreign = sorted(name for name in set(tensors) - wanted if not name.endswith(_EMBEDDINGS))
        if not foreign:
            merged = joined.merge_and_unload(safe_merge=True)
    except OSError:
        raise  # a full disk, too
    except Exception as error:  # of peft, torch and transformers: no common base
        raise BuildError(
            f"The adapter can't be merged into its base: {first_line(error)} Check that it was made for this base, "
            "unquantised."
        ) from error
    if foreign:
        raise SourceError(
            f"The adapter and its base do not belong together: {len(foreign)} of the adapter's tensors have no place "
            f"in the base, {foreign[0]} among them. Name the base that it was made for."
        )
    report(0.7, "writing the merged model")
    merged.save_pretrained(target)
    if lacking:  # peft only warns, and goes on with zeros
        (target / _NOTE).write_text(
            f"{len(lacking)} of the {len(wanted)} tensors that the adapter's configuration calls for are not in its "
            "file: what they would change is as in the base."
        )
    for source in (base, adapter) if has_tokenizer({file.name for file in adapter.iterdir()}) else (base,):
        for file in (file for pattern in _TOKENIZER_FILES for file in source.glob(pattern)):
            shutil.copy(file, target)
    if not has_template(target) and has_template(base):  # it stood in the file that the adapter's has replaced
        (target / "chat_template.jinja").write_text(read_config(base / "tokenizer_config.json")["chat_template"])


def _vocabulary(tensors: dict[str, Any]) -> int:
    """The rows of the embeddings where the adapter brings its own; 0 where it leaves them as they are."""
    return max((tensors[name]["shape"][0] for name in tensors if name.endswith(_EMBEDDINGS)), default=0)
