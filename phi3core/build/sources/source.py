"""Where weights come from: the embedded model, a folder on this machine, a Hugging Face repository.

`parse_source` reads what a person wrote; ``fetch.py`` brings the files here and says what they are. Knows nothing of
MLflow, and nothing of what the weights are for.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Set
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from phi3core.errors import BadInput, NotFound, SourceError
from phi3core.links import find_link_out

Report = Callable[[float | None, str], None]
"""How far a step is (0 to 1, or None when it is not known) and what it is doing, in words."""


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
    base, base_revision: of an adapter that was merged into a base, the source and the revision of that.
    note: a sentence about them that a reader of the version should know.
    """

    folder: Path
    format: Literal["transformers", "onnx"]
    source: str
    revision: str
    licence: str
    key: str
    base: str = ""
    base_revision: str = ""
    note: str = ""


@dataclass(frozen=True)
class Listing:
    """A source's files, as they are known without its weights.

    folder: holds at least the configurations, the chat template and the card. sizes: file name → bytes, of all files of
    the folder itself. variants: the folders in it that hold ONNX models. is_here: whether the folder holds everything.
    parameters: as the hub counts them, None where it does not.
    """

    folder: Path
    sizes: dict[str, int]
    revision: str
    licence: str
    is_here: bool
    parameters: int | None = None
    variants: tuple[str, ...] = ()

    @property
    def names(self) -> Set[str]:
        return self.sizes.keys()


def parse_source(text: str) -> Source:
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


def find_folder(source: Source) -> Path:
    """The folder of a source of that kind.

    Raises:
        NotFound: there is none.
        SourceError: a link in it leads out of it.
    """
    folder = Path(source.path)
    if not folder.is_dir():
        raise NotFound(
            f"There is no folder {folder}. Check the path, which is read on the machine that runs the app; "
            "a Hugging Face repository is written hf:owner/repo."
        )
    if link := find_link_out(folder):
        raise SourceError(f"{link} is a link out of the model's folder. Put the file itself in its place.")
    return folder
