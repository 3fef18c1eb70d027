"""Downloads by the real huggingface_hub from a small hub on loopback.

It reads HF_ENDPOINT when it is imported, so every download is a process of its own.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.hub import SHA, serving

FETCH = """
import dataclasses, json, sys
from huggingface_hub import constants
constants.DOWNLOAD_CHUNK_SIZE = 4096  # a part of a file that is kept: our files are smaller than its own 10 MB
from pathlib import Path
from phi3core.build.sources.fetch import fetch_weights
from phi3core.build.sources.source import parse_source
from phi3core.errors import Phi3Error
try:
    weights = fetch_weights(parse_source(sys.argv[1]), Path(sys.argv[2]), lambda share, text: None)
    print(json.dumps(dataclasses.asdict(weights), default=str))
except Phi3Error as error:
    print(json.dumps({"error": type(error).__name__, "text": str(error)}))
"""

Fetch = Callable[[str], dict[str, Any]]


@pytest.fixture
def repo(tiny: Path, tmp_path: Path) -> Path:
    """A repository with a model, a model in a folder below, and files that are not asked for."""
    folder = shutil.copytree(tiny, tmp_path / "repo")
    shutil.copytree(tiny, folder / "variants" / "small")
    (folder / "pytorch_model.bin").write_bytes(b"pickled")
    (folder / "run.py").write_text("print('never downloaded')")
    return folder


@pytest.fixture
def endpoint(repo: Path) -> Iterator[str]:
    with serving({"acme/tiny-phi3": repo}) as url:
        yield url


@pytest.fixture
def fetch(endpoint: str, tmp_path: Path) -> Fetch:
    return lambda source: _fetch(source, endpoint, tmp_path)


def _fetch(source: str, endpoint: str, folder: Path) -> dict[str, Any]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("HF_")}
    environment |= {"HF_ENDPOINT": endpoint, "HF_HOME": str(folder / "hf"), "HF_HUB_DISABLE_XET": "1"}
    command = [sys.executable, "-c", FETCH, source, str(folder / "cache")]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return dict(json.loads(done.stdout.splitlines()[-1]))


def test_a_repository_is_downloaded_and_pinned_to_its_commit(fetch: Fetch) -> None:
    weights = fetch("hf:acme/tiny-phi3@v1")

    assert weights["format"] == "transformers"
    assert weights["revision"] == SHA
    assert weights["licence"] == "mit"
    assert weights["source"] == "hf:acme/tiny-phi3@v1"
    assert (Path(weights["folder"]) / "model.safetensors").is_file()


def test_pickles_and_code_are_not_downloaded(fetch: Fetch) -> None:
    folder = Path(fetch("hf:acme/tiny-phi3")["folder"])

    assert not (folder / "pytorch_model.bin").exists()
    assert not (folder / "run.py").exists()


def test_a_folder_in_a_repository_is_downloaded_alone(fetch: Fetch) -> None:
    weights = fetch("hf:acme/tiny-phi3@main/variants/small")

    folder = Path(weights["folder"])
    assert folder.parts[-2:] == ("variants", "small")
    assert (folder / "config.json").is_file()
    assert not (folder.parent.parent / "config.json").exists()
    assert weights["revision"] == SHA


def test_a_second_fetch_downloads_nothing_again(fetch: Fetch, tmp_path: Path) -> None:
    first = Path(fetch("hf:acme/tiny-phi3")["folder"]) / "model.safetensors"
    made = first.resolve().stat().st_mtime_ns

    second = Path(fetch("hf:acme/tiny-phi3@main")["folder"]) / "model.safetensors"

    assert second == first
    assert second.resolve().stat().st_mtime_ns == made


@pytest.mark.parametrize(
    ("source", "error", "text"),
    [
        ("hf:acme/nothing", "NotFound", "There is no repository acme/nothing"),
        ("hf:acme/tiny-phi3@v9", "NotFound", "has no revision “v9”"),
        ("hf:acme/tiny-phi3/nowhere", "NotFound", "has no such folder"),
        ("hf:acme/gated", "SourceError", "is gated: accept its terms"),
        ("hf:acme/broken", "SourceError", "can't be reached"),
        ("hf:acme/" + "x" * 200, "BadInput", "is not a repository name"),
    ],
)
def test_what_the_hub_refuses_is_told_in_a_sentence(fetch: Fetch, source: str, error: str, text: str) -> None:
    told = fetch(source)

    assert told["error"] == error, told
    assert text in told["text"]
    assert "\n" not in told["text"]


def test_a_damaged_download_is_found(fetch: Fetch, repo: Path) -> None:
    weights = repo / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])

    told = fetch("hf:acme/tiny-phi3")

    assert told["error"] == "SourceError"
    assert "is damaged" in told["text"]


def test_content_that_is_not_what_the_hub_says_is_found_and_fetched_again(fetch: Fetch, repo: Path) -> None:
    weights = repo / "model.safetensors"
    whole = weights.read_bytes()
    weights.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))

    told = fetch("hf:acme/tiny-phi3")

    assert told["error"] == "SourceError"
    assert "model.safetensors is damaged: its content is not what the hub says it is" in told["text"]
    weights.write_bytes(whole)
    assert fetch("hf:acme/tiny-phi3")["revision"] == SHA


def test_a_connection_that_breaks_half_way_is_taken_up_where_it_broke(repo: Path, tmp_path: Path) -> None:
    ranges: list[str] = []
    with serving({"acme/tiny-phi3": repo}, {"model.safetensors"}, ranges) as url:
        weights = _fetch("hf:acme/tiny-phi3", url, tmp_path)

    assert weights.get("revision") == SHA, weights
    assert (Path(weights["folder"]) / "model.safetensors").read_bytes() == (repo / "model.safetensors").read_bytes()
    size = (repo / "model.safetensors").stat().st_size
    (asked,) = ranges
    assert size // 2 - 4096 <= int(asked.removeprefix("bytes=").removesuffix("-")) <= size // 2


def test_a_hub_that_does_not_answer_is_told_in_a_sentence(tmp_path: Path) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        told = _fetch("hf:acme/tiny-phi3", f"http://127.0.0.1:{closed.getsockname()[1]}", tmp_path)

    assert told["error"] == "SourceError"
    assert "can't be reached for acme/tiny-phi3" in told["text"]
    assert "Check the network" in told["text"]
