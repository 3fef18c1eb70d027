"""Rewrites what today's libraries do not read in a model's folder, into a folder of links that they do.

The old name of a rope type in config.json, and a tokenizer that has no tokenizer.json.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from phi3core import folder_cache, hashing
from phi3core.engine.json_file import read_config
from phi3core.engine.load_failure import first_line
from phi3core.errors import SourceError

from .source import Report

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

_VERSION = "1"  # part of the cache's key: count it up whenever something else is written


def make_readable(folder: Path, key: str, cache: Path, report: Report) -> Path:
    """The folder itself, or one of links to its files beside those that had to be rewritten.

    Args:
        key: changes whenever the content of the folder does.

    Raises:
        SourceError: the tokenizer can't be read.
    """
    config = modern_config(folder) if (folder / "config.json").is_file() else {}
    renamed = bool(config) and config != read_config(folder / "config.json")
    old_tokenizer = not (folder / "tokenizer.json").is_file()
    if not renamed and not old_tokenizer:
        return folder

    def make(part: Path) -> None:
        for file in folder.iterdir():
            if file.is_file():
                (part / file.name).symlink_to(file.resolve())
        if renamed:
            _write(part / "config.json", json.dumps(config, indent=2))
        if old_tokenizer:
            report(None, "converting the tokenizer")
            _convert_tokenizer(part)

    # The links lead to this very folder, wherever else the same content may be.
    return folder_cache.get_or_make(
        cache, "readable", hashing.hash_texts("readable", _VERSION, str(folder), key), make, _check_links
    )


def modern_config(folder: Path) -> dict[str, Any]:
    """config.json with “longrope” for “su”, its name until June 2024."""
    config = read_config(folder / "config.json")
    for name in ("rope_scaling", "rope_parameters"):
        rope = config.get(name)
        for kind in ("type", "rope_type"):
            if isinstance(rope, dict) and rope.get(kind) == "su":
                rope[kind] = "longrope"
    return config


def read_old_tokenizer(folder: Path) -> PreTrainedTokenizerBase:
    """The tokenizer of a folder that has no tokenizer.json. Raises SourceError where it can't be converted to one."""
    from transformers import AutoTokenizer

    names = ", ".join(sorted(path.name for path in folder.glob("*") if path.suffix in (".model", ".txt")))
    try:
        tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
    except Exception as error:  # of transformers, sentencepiece and protobuf, which have no common base
        # Transformers takes what SentencePiece does not read for tiktoken's, and asks for that package.
        why = "it is no SentencePiece model." if "tiktoken" in str(error) else first_line(error)
        raise SourceError(
            f"tokenizer.json is missing. The tokenizer ({names or 'vocab.json'}) can't be read: {why} Add the model's "
            "tokenizer.json, or copy its tokenizer's files again."
        ) from error
    if not tokenizer.is_fast:
        raise SourceError(
            f"tokenizer.json is missing, and the tokenizer ({names}) can't be converted to one: add that file."
        )
    return tokenizer


def _convert_tokenizer(folder: Path) -> None:
    tokenizer = read_old_tokenizer(folder)
    with tempfile.TemporaryDirectory() as written:
        tokenizer.save_pretrained(written)
        for file in Path(written).iterdir():
            (folder / file.name).unlink(missing_ok=True)
            shutil.copy(file, folder)


def _write(path: Path, text: str) -> None:
    path.unlink(missing_ok=True)  # the link: what it leads to is not ours
    path.write_text(text)


def _check_links(folder: Path) -> None:
    if missing := [path for path in folder.iterdir() if not path.exists()]:
        raise SourceError(f"{missing[0]} leads to a file that is gone.")
