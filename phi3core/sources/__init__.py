"""Where weights come from: the embedded model, a folder on this machine, a Hugging Face repository.

``parse`` reads what a person wrote, ``fetch`` brings the files here and says what they are, ``check``
looks at them without loading them. Knows nothing of MLflow, and nothing of what the weights are for.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from .. import cache as prepared
from ..errors import BadInput, NotFound
from .files import check as check

Report = Callable[[float | None, str], None]
"""How far a step is (0 to 1, or None when that can't be told) and what it is doing, in words."""


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
        revision = f"@{self.revision.replace('/', '%2F')}" if self.revision else ""
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
        try:
            return Source("folder", path=str(Path(text).expanduser().resolve()))
        except (RuntimeError, ValueError, OSError) as error:
            raise BadInput(f"“{text}” is not a folder: {error}.") from error
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
            from . import embedded

            return embedded.fetch(cache, report)
        case "folder":
            return _fetch_folder(source, report)
        case "hub":
            from . import hub

            return hub.fetch(source, report)


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
