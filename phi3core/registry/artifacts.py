"""A version's files: their sizes, their digests, and whether they are still what they were.

The digest is the one that a build records (``tags.DIGEST``): SHA-256 over every file's name and content. Where the
files are not on this machine they must be fetched for it: `compute_digest` does so, one file at a time; `read_state`
compares only their names and sizes, and says so. Knows nothing of policies or promotions.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

from phi3core import folder_cache, hashing, tags
from phi3core.errors import NotFound, Phi3Error, StoreError
from phi3core.settings import Settings
from phi3core.store.client import mlflow_client, translate_errors
from phi3core.store.timeouts import allow_transfer_time
from phi3core.text import plural

from . import filelist
from .filelist import File
from .models import Version

_LARGEST_TEXT = 4_000_000  # bytes of a text file that is read whole
_URIS = 10_000  # that are remembered
_WITH_THE_TOKEN = ("http", "https", "mlflow-artifacts")  # schemes whose servers MLflow sends its own credentials
_uris: dict[tuple[str, str, int, str], str] = {}


@dataclass(frozen=True)
class ArtifactState:
    """What is known of a version's files at this moment.

    digest: empty where it was not taken on this machine. listing: SHA-256 over names and sizes. uri: their folder's.
    remote: they are not on this machine. summary: how they were compared, as a sentence.
    """

    digest: str
    listing: str
    uri: str
    remote: bool
    summary: str


def compute_digest(settings: Settings, version: Version) -> str:
    """The SHA-256 of all files as they are now. Fetches them where they are elsewhere: gigabytes, perhaps.

    Raises NotFound where they are gone, StoreError where they can't be read.
    """
    return read_state(settings, version, fetch=True).digest


def read_state(settings: Settings, version: Version, fetch: bool = False) -> ArtifactState:
    """How the files are now. fetch: take the digest even where they must be fetched for it; else those are only listed.

    Raises as `compute_digest`.
    """
    uri = _uri(settings, version)
    with _errors_of_files(version.ref):
        return _state(settings, uri, _location(settings, version), fetch)


def is_local(settings: Settings, version: Version) -> bool:
    """Whether the files are on this machine. Raises NotFound where they are gone."""
    return isinstance(_location(settings, version), Path)


def hash_etags(settings: Settings, version: Version) -> str:
    """SHA-256 over the ETags of files in an object store, which change with their content; empty elsewhere.

    Fetches no file. Raises as `compute_digest`.
    """
    location = _location(settings, version)
    with _errors_of_files(version.ref):
        return "" if isinstance(location, Path) else filelist.hash_etags(settings, location)


def read_local_state(settings: Settings, uri: str, ref: str) -> ArtifactState | None:
    """As `read_state`, for the URI of an earlier state, without asking the store; None if it is not on this machine.

    ref: whose files they are, for the errors. Raises as `compute_digest`.
    """
    parts = urlsplit(uri)
    folder = Path(unquote(parts.path))
    if parts.scheme not in ("", "file") or not folder.is_dir():
        return None
    with _errors_of_files(ref):
        return _state(settings, uri, folder, False)


def compute_folder_digest(settings: Settings, folder: Path) -> str:
    """As `compute_digest`, for a logged model's folder that is not registered yet. Raises OSError."""
    return filelist.total_digest(filelist.list_files(settings, folder, read=True))


def matches_build(version: Version, found: list[File]) -> bool | None:
    """Whether the files are those that the build recorded; None where it recorded none, or a digest is not taken."""
    recorded = version.tags.get(tags.DIGEST, "")
    if not recorded or not all(file.sha256 for file in found):
        return None
    return recorded == filelist.total_digest(found)


def list_files(settings: Settings, version: Version, read: bool = False) -> list[File]:
    """The version's files by name. read: take the digests that are not known yet, which may take long.

    Raises NotFound where they are gone, StoreError where they can't be read.
    """
    with _errors_of_files(version.ref):
        return filelist.list_files(settings, _location(settings, version), read)


# ---------------------------------------------------------------- where they are


def artifact_uri(settings: Settings, version: Version) -> str:
    """Where a version's files are: a path or URI that MLflow's artifact stores understand.

    Raises StoreError where they are on a web server other than the store: whoever registered the version chose it, and
    MLflow would send it the store's own token.
    """
    store = mlflow_client(settings)
    with translate_errors(settings):
        if version.source.startswith("models:/m-"):
            uri = str(store.get_logged_model(version.source.removeprefix("models:/")).artifact_location)
        else:
            uri = str(store.get_model_version_download_uri(version.name, str(version.version)))
    host = _host(uri) if urlsplit(uri).scheme in _WITH_THE_TOKEN else ""
    if host and host not in settings.artifact_hosts | {_host(settings.tracking_uri)}:
        raise StoreError(
            f"The files of {version.ref} are said to be at {host}, which is not the store: nothing is fetched from "
            "there, because the store's credentials would go along. An admin can allow that with PHI3_ARTIFACT_HOSTS."
        )
    return uri


def _host(uri: str) -> str:
    return urlsplit(uri).netloc.rpartition("@")[2].lower()


def local_folder(settings: Settings, version: Version, uri: str = "") -> Path | None:
    """The version's files where the store keeps them on this machine; None when they must be downloaded.

    uri: the version's `artifact_uri`, if the caller has it. Raises NotFound where the folder holds no model.
    """
    parts = urlsplit(uri or artifact_uri(settings, version))
    if parts.scheme not in ("", "file"):
        return None
    folder = Path(unquote(parts.path))
    if not (folder / "MLmodel").is_file():
        again = "Build the version again." if version.wrapper else "Put the files back, or log and register it again."
        raise NotFound(f"The files of {version.ref} are gone: {folder} holds no model. {again}")
    return folder


def download(settings: Settings, version: Version) -> Path:
    """The version's files on this machine, downloaded once and kept in the cache."""
    import mlflow

    if folder := local_folder(settings, version):
        return folder

    def make(part: Path) -> None:
        with translate_errors(settings), allow_transfer_time():
            mlflow.artifacts.download_artifacts(f"models:/{version.ref}", dst_path=str(part))

    key = hashing.hash_texts(settings.tracking_uri, version.ref, version.source)
    return folder_cache.get_or_make(settings.cache, "versions", key, make)


# ---------------------------------------------------------------- what is in them


def read_text(settings: Settings, version: Version, path: str) -> str:
    """A text file of the version. Raises NotFound where it has none of that name, StoreError as `files`."""
    found = next((file for file in list_files(settings, version) if file.path == path), None)
    if found is None:
        raise NotFound(f"{version.ref} has no file {path}.")
    if found.size > _LARGEST_TEXT:
        raise StoreError(f"{path} of {version.ref} has {found.size:,} bytes: too many to show.")
    location = _location(settings, version)
    with _errors_of_files(version.ref):
        if isinstance(location, Path):
            return (location / path).read_text("utf-8", "replace")
        with filelist.fetched_file(settings, location, path) as copy:
            return copy.read_text("utf-8", "replace")


def read_requirements(settings: Settings, version: Version) -> list[str]:
    """The lines of the logged model's requirements.txt, without comments; empty when it has none."""
    return [line for line in _lines(settings, version, "requirements.txt") if line and not line.startswith("#")]


def read_python_version(settings: Settings, version: Version) -> str:
    """The Python version that the model was logged with, such as ``3.11.9``; empty when it does not tell."""
    lines = (line for line in _lines(settings, version, "python_env.yaml") if line.startswith("python:"))
    return next((line.removeprefix("python:").strip().strip("\"'") for line in lines), "")


def read_chat_template(settings: Settings, version: Version) -> str:
    """The text of the tokenizer's chat template; empty when the model carries none."""
    names = [file.path for file in list_files(settings, version)]
    for wanted in ("chat_template.jinja", "tokenizer_config.json"):
        for name in sorted((n for n in names if n.split("/")[-1] == wanted), key=len):
            found = read_text(settings, version, name)
            if wanted.endswith(".jinja"):
                return found
            with contextlib.suppress(ValueError, AttributeError):
                template = json.loads(found).get("chat_template")
                if template:
                    return template if isinstance(template, str) else json.dumps(template, indent=2)
    return ""


def _lines(settings: Settings, version: Version, path: str) -> list[str]:
    try:
        return [line.strip() for line in read_text(settings, version, path).splitlines()]
    except NotFound:
        return []


# ---------------------------------------------------------------- inside


def _state(settings: Settings, uri: str, location: Path | str, fetch: bool) -> ArtifactState:
    remote = not isinstance(location, Path)
    found = filelist.list_files(settings, location, read=fetch or not remote)
    whole = all(file.sha256 for file in found)
    listing = json.dumps([[file.path, file.size] for file in found]).encode()
    count = f"{len(found)} {plural(len(found), 'file')}, {sum(file.size for file in found):,} bytes"
    summary = f"The content of {count}, was compared."
    if remote and not fetch:
        summary = f"Only the names and sizes of {count}, were compared, because they are not on this machine."
    digest = filelist.total_digest(found) if whole else ""
    return ArtifactState(digest, hashlib.sha256(listing).hexdigest(), uri, remote, summary)


def _location(settings: Settings, version: Version) -> Path | str:
    """The folder with the files where they are on this machine, else their URI."""
    uri = _uri(settings, version)
    return local_folder(settings, version, uri) or uri


def _uri(settings: Settings, version: Version) -> str:
    """Where the files are. A version's source never changes, so the store is asked once."""
    key = (settings.tracking_uri, version.name, version.version, version.source)
    if key not in _uris:
        if len(_uris) >= _URIS:
            _uris.clear()
        _uris[key] = artifact_uri(settings, version)
    return _uris[key]


@contextlib.contextmanager
def _errors_of_files(ref: str) -> Iterator[None]:
    """Translate what a file system or an artifact store raises."""
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
