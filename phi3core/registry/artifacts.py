"""A version's files: their sizes, their digests, and whether they are still what they were.

The digest is the one that a build records (``keys.DIGEST``): SHA-256 over every file's name and content. Where the
files are not on this machine they must be fetched for it: `digest` does so, one file at a time; `state` compares only
their names and sizes, and says so. Knows nothing of policies or promotions.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

from phi3core import tags
from phi3core.errors import NotFound, Phi3Error, StoreError
from phi3core.settings import Settings
from phi3core.text import plural

from . import filelist, reader
from .filelist import NOT_LOGGED, File, fetched, listed, total
from .models import Version

_AS_IT_WAS = "model_name: null\nmodel_version: null\n"
_LARGEST_TEXT = 4_000_000  # bytes of a text file that is read whole
_URIS = 10_000  # that are remembered
_uris: dict[tuple[str, str, int, str], str] = {}


@dataclass(frozen=True)
class State:
    """What is known of a version's files at this moment. digest: empty where nobody took it on this machine.

    listing: SHA-256 over names and sizes. place: their folder's URI. remote: they are not on this machine. says: how
    they were looked at, as a sentence. older: the digest as builds used to take it.
    """

    digest: str
    listing: str
    place: str
    remote: bool
    says: str
    older: str = ""

    def has(self, digest: str) -> bool:
        """Whether a digest that was recorded once is of these files."""
        return bool(digest) and digest in (self.digest, self.older)


def digest(settings: Settings, version: Version) -> str:
    """The SHA-256 of all files as they are now. Fetches them where they are elsewhere: gigabytes, perhaps.

    Raises NotFound where they are gone, StoreError where they can't be read.
    """
    return state(settings, version, fetch=True).digest


def state(settings: Settings, version: Version, fetch: bool = False) -> State:
    """How the files are now. fetch: take the digest even where they must be fetched for it; else those are only listed.

    Raises as `digest`.
    """
    uri = _uri(settings, version)
    with _told(version.ref):
        return _state(settings, uri, _place(settings, version), fetch)


def marks(settings: Settings, version: Version) -> str:
    """What tells without fetching that files elsewhere are still the same, where their store says so; else "".

    Raises as `digest`.
    """
    place = _place(settings, version)
    with _told(version.ref):
        return "" if isinstance(place, Path) else filelist.marks(settings, place)


def state_at(settings: Settings, place: str, ref: str) -> State | None:
    """The same for a place that an earlier state told, without asking the store; None where that is elsewhere.

    ref: whose files they are, for the errors. Raises as `digest`.
    """
    uri = urlsplit(place)
    folder = Path(unquote(uri.path))
    if uri.scheme not in ("", "file") or not folder.is_dir():
        return None
    with _told(ref):
        return _state(settings, place, folder, False)


def digest_of(settings: Settings, folder: Path) -> str:
    """The same for a logged model's folder that is not registered yet. Raises OSError."""
    return total(listed(settings, folder, read=True))


def as_built(version: Version, found: list[File]) -> bool | None:
    """Whether the files are those that the build recorded; None where it recorded none, or a digest is not taken."""
    recorded = version.tags.get(tags.DIGEST, "")
    if not recorded or not all(file.sha256 for file in found):
        return None
    return recorded in (total(found), _older(found))


def files(settings: Settings, version: Version, read: bool = False) -> list[File]:
    """The version's files by name. read: take the digests that are not known yet, which may take long.

    Raises NotFound where they are gone, StoreError where they can't be read.
    """
    with _told(version.ref):
        return listed(settings, _place(settings, version), read)


# ---------------------------------------------------------------- what is in them


def text(settings: Settings, version: Version, path: str) -> str:
    """A text file of the version. Raises NotFound where it has none of that name, StoreError as `files`."""
    found = next((file for file in files(settings, version) if file.path == path), None)
    if found is None:
        raise NotFound(f"{version.ref} has no file {path}.")
    if found.size > _LARGEST_TEXT:
        raise StoreError(f"{path} of {version.ref} has {found.size:,} bytes: too many to show.")
    place = _place(settings, version)
    with _told(version.ref):
        if isinstance(place, Path):
            return (place / path).read_text("utf-8", "replace")
        with fetched(settings, place, path) as copy:
            return copy.read_text("utf-8", "replace")


def requirements(settings: Settings, version: Version) -> list[str]:
    """The lines of the logged model's requirements.txt, without comments; empty when it has none."""
    return [line for line in _lines(settings, version, "requirements.txt") if line and not line.startswith("#")]


def python(settings: Settings, version: Version) -> str:
    """The Python version that the model was logged with, such as ``3.11.9``; empty when it does not tell."""
    told = (line for line in _lines(settings, version, "python_env.yaml") if line.startswith("python:"))
    return next((line.removeprefix("python:").strip().strip("\"'") for line in told), "")


def chat_template(settings: Settings, version: Version) -> str:
    """The text of the tokenizer's chat template; empty when the model carries none."""
    names = [file.path for file in files(settings, version)]
    for wanted in ("chat_template.jinja", "tokenizer_config.json"):
        for name in sorted((n for n in names if n.split("/")[-1] == wanted), key=len):
            found = text(settings, version, name)
            if wanted.endswith(".jinja"):
                return found
            with contextlib.suppress(ValueError, AttributeError):
                template = json.loads(found).get("chat_template")
                if template:
                    return template if isinstance(template, str) else json.dumps(template, indent=2)
    return ""


def _lines(settings: Settings, version: Version, path: str) -> list[str]:
    try:
        return [line.strip() for line in text(settings, version, path).splitlines()]
    except NotFound:
        return []


# ---------------------------------------------------------------- inside


def _state(settings: Settings, uri: str, place: Path | str, fetch: bool) -> State:
    remote = not isinstance(place, Path)
    found = listed(settings, place, read=fetch or not remote)
    whole = all(file.sha256 for file in found)
    listing = json.dumps([[file.path, file.size] for file in found]).encode()
    count = f"{len(found)} {plural(len(found), 'file')}, {sum(file.size for file in found):,} bytes"
    says = f"The content of {count}, was compared."
    if remote and not fetch:
        says = f"Only the names and sizes of {count}, were compared, because they are not on this machine."
    known, older = (total(found), _older(found)) if whole else ("", "")
    return State(known, hashlib.sha256(listing).hexdigest(), uri, remote, says, older)


def _older(found: list[File]) -> str:
    """The digest as builds used to take it, which counted MLflow's own file."""
    before = hashlib.sha256(_AS_IT_WAS.encode()).hexdigest()
    return total([*found, File(NOT_LOGGED, len(_AS_IT_WAS), before)])


def _place(settings: Settings, version: Version) -> Path | str:
    """The folder with the files where they are on this machine, else their URI."""
    uri = _uri(settings, version)
    return reader.local_folder(settings, version, uri) or uri


def _uri(settings: Settings, version: Version) -> str:
    """Where the files are. A version's source never changes, so the store is asked once."""
    key = (settings.tracking_uri, version.name, version.version, version.source)
    if key not in _uris:
        if len(_uris) >= _URIS:
            _uris.clear()
        _uris[key] = reader.artifact_uri(settings, version)
    return _uris[key]


@contextlib.contextmanager
def _told(ref: str) -> Iterator[None]:
    """Whatever a file system or an artifact store raises, as a sentence."""
    try:
        yield
    except Phi3Error:
        raise
    except FileNotFoundError as error:
        raise NotFound(f"The files of {ref} are gone or just being changed: {error.filename}.") from error
    except Exception as error:  # boto's, azure's, requests' … are as many as there are kinds of stores
        first = next(iter(str(error).splitlines()), "") or repr(error)
        raise StoreError(
            f"The files of {ref} can't be read: {first[:300]}. Check the artifact store and its credentials."
        ) from error
