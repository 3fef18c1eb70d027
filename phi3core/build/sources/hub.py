"""Weights from a Hugging Face repository, at an exact commit."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from phi3core import hashing
from phi3core.errors import BadInput, NotFound, SourceError

from .hub_token import hub_token
from .source import Listing, Report, Source, Weights

if TYPE_CHECKING:
    from huggingface_hub import ModelInfo
    from huggingface_hub.hf_api import RepoSibling

# What an inspection needs of a model.
_SMALL = [
    "config.json", "genai_config.json", "tokenizer_config.json", "chat_template.*", "adapter_config.json",
    "model.safetensors.index.json", "README.md",
]  # fmt: skip
_OLD_TOKENIZER = ["*.model", "vocab.*", "merges.txt", "special_tokens_map.json", "added_tokens.json"]
# What a Transformers model needs. Pickled weights (.bin, .pt) are left out on purpose: loading them runs code.
_FILES = ["*.json", "*.safetensors", "*.model", "*.txt", "*.jinja", "README.md", "LICENSE*"]


def fetch_from_hub(source: Source, cache: Path, report: Report) -> Weights:
    """Download the repository, or the folder in it, into the hub's own cache (``HF_HOME``), and verify it.

    A connection that breaks is taken up where it broke, and a file that is there whole is not fetched again. What the
    files are is not known yet. Raises as sources.fetch.
    """
    from huggingface_hub import snapshot_download

    with _hub_errors(source):
        info = _ask(source, report)
        revision = str(info.sha)
        patterns = [f"{source.path}/*"] if source.path else _FILES
        wanted = [f for f in info.siblings or [] if any(_matches(f.rfilename, p) for p in patterns)]
        if not wanted:
            raise NotFound(f"{source} has no such folder. Look at the repository's files and write the folder's name.")
        total = sum(file.size or 0 for file in wanted)
        with _watch_download(source.repo, total, report):
            root = snapshot_download(source.repo, revision=revision, allow_patterns=patterns, token=hub_token())
    _verify(Path(root), wanted, cache, report)
    folder = Path(root) / source.path if source.path else Path(root)
    key = hashing.hash_texts("hub", source.repo, revision, source.path)
    return Weights(folder, "transformers", str(source), revision, _licence(info), key)


def _verify(root: Path, wanted: list[RepoSibling], cache: Path, report: Report) -> None:
    """Read every large file once and hold it against the SHA-256 that the hub told for it.

    huggingface_hub itself compares lengths alone. What was verified is remembered by what the file is recognised by.

    Raises:
        SourceError: one has another content; it is removed, so that it is fetched again.
    """
    for file in wanted:
        expected = file.lfs.sha256 if file.lfs else ""
        path = (root / file.rfilename).resolve()
        if not expected or not path.is_file():
            continue
        found = path.stat()
        known = hashing.hash_texts("verified", str(path), f"{found.st_size} {found.st_mtime_ns}", expected)
        mark = cache / "verified" / known
        if mark.exists():
            continue
        report(None, f"verifying {file.rfilename}")
        if hashing.hash_file(path) != expected:
            path.unlink()
            raise SourceError(
                f"{file.rfilename} is damaged: its content is not what the hub says it is. It was removed; build again "
                "to fetch it anew."
            )
        mark.parent.mkdir(parents=True, exist_ok=True)
        mark.touch()


def list_repository(source: Source, report: Report) -> Listing:
    """The repository's files, or those of the folder in it, with the small ones here. Raises as sources.fetch."""
    from huggingface_hub import snapshot_download

    prefix = f"{source.path}/" if source.path else ""
    with _hub_errors(source):
        info = _ask(source, report)
        files = {file.rfilename: file.size or 0 for file in info.siblings or []}
        inside = {name.removeprefix(prefix): size for name, size in files.items() if name.startswith(prefix)}
        if not inside:
            raise NotFound(f"{source} has no such folder. Look at the repository's files and write the folder's name.")
        report(None, "fetching its configuration")
        wanted = _SMALL if "tokenizer.json" in inside else [*_SMALL, *_OLD_TOKENIZER]
        root = snapshot_download(
            source.repo, revision=str(info.sha), allow_patterns=[f"{prefix}{name}" for name in wanted],
            token=hub_token(),
        )  # fmt: skip
    variants = sorted({name.rpartition("/")[0] for name in files if name.endswith("/genai_config.json")})
    return Listing(
        Path(root) / source.path,
        {name: size for name, size in inside.items() if "/" not in name},
        str(info.sha),
        _licence(info),
        is_here=False,
        parameters=getattr(getattr(info, "safetensors", None), "total", None),
        variants=tuple(variants),
    )


def _ask(source: Source, report: Report) -> ModelInfo:
    from huggingface_hub import HfApi

    report(None, f"asking the hub about {source.repo}")
    hub = HfApi(token=hub_token())
    return hub.model_info(source.repo, revision=source.revision or None, files_metadata=True, timeout=15)


def _licence(info: ModelInfo) -> str:
    return str(getattr(info.card_data, "license", None) or "unknown")


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
    """Report the growth of the hub's cache folder, and how fast it grows, while the body downloads into it."""
    from huggingface_hub import constants

    blobs = Path(constants.HF_HUB_CACHE) / f"models--{repo.replace('/', '--')}" / "blobs"
    done = threading.Event()

    def watch() -> None:
        before, began = hashing.folder_size(blobs) if blobs.is_dir() else 0, time.monotonic()
        while not done.wait(0.5):
            have = hashing.folder_size(blobs) if blobs.is_dir() else 0
            share = min(have / total, 1.0) if total else None
            speed = max(have - before, 0) / (time.monotonic() - began) / 1e6
            report(share, f"downloading {have / 1e6:,.0f} of {total / 1e6:,.0f} MB, {speed:,.1f} MB/s")

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield
    finally:
        done.set()
        watcher.join()
