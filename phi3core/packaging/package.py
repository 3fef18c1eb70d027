"""Writes a version as a folder that is complete: model, environment, server, manifest, and how to deploy it.

The model is copied as the store has it, and its digest compared afterwards. Where an image runs it, MLflow's own
Dockerfile builds that.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
from importlib.metadata import version as installed
from pathlib import Path

from phi3core import __version__, hashing
from phi3core.errors import BadInput, Conflict, StoreError
from phi3core.registry import artifacts, reader
from phi3core.registry.models import Version
from phi3core.serving import memory
from phi3core.settings import Settings
from phi3core.timestamps import now_ms

from .targets import IMAGE_TARGETS, TARGETS, Description, Packaged, describe, dns_label

MANIFEST = "manifest.json"


def write_package(settings: Settings, ref: str, target: str, folder: Path, image: str = "") -> Path:
    """Write the package of a version. Fetches its files where they are elsewhere.

    Args:
        target: one of `targets.TARGETS`.
        folder: made here; nothing may be there.
        image: what the image is called, with the registry that it is pushed to; by default the model's name.

    Returns:
        The folder.

    Raises:
        BadInput: there is no such target, or the reference is none.
        Conflict: there is something at the folder already.
        NotFound, StoreError, StoreDown: the version or its files can't be read, or are not as they were copied.
        OSError: the folder can't be written.
    """
    if target not in TARGETS:
        raise BadInput(f"There is no target “{target}”. There are {', '.join(TARGETS)}.")
    version = reader.get_version(settings, ref)
    folder = folder.absolute()
    if folder.exists():
        raise Conflict(f"{folder} is there already: name a folder that is not.")
    source = artifacts.download(settings, version)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name[:40]}-") as work:
        part = Path(work, "package")
        place = _copy_with_dockerfile(source, part) if target in IMAGE_TARGETS else _copy(source, part)
        digest = _check(settings, version, part / place, source)
        size = hashing.folder_size(source)
        packaged = Packaged(
            version.name, version.version, digest, memory.needed(source, size, version.wrapper),
            image or f"{dns_label(version.name)}:{version.version}", place, _body(part / place),
        )  # fmt: skip
        described = describe(target, packaged)
        for name, text in described.files.items():
            (part / name).write_text(text)
        (part / "README.md").write_text(_readme(target, packaged, described))
        (part / MANIFEST).write_text(json.dumps(_manifest(target, version, packaged, part), indent=2) + "\n")
        part.rename(folder)  # whole, or not at all
    return folder


def _copy(source: Path, part: Path) -> str:
    shutil.copytree(source, part / "model")
    return "model"


def _copy_with_dockerfile(source: Path, part: Path) -> str:
    """Have MLflow write its Dockerfile, with the model beside it under a name that does not depend on the store."""
    command = [sys.executable, "-m", "mlflow", "models", "generate-dockerfile", "-m", str(source), "-d", str(part)]
    command += ["--env-manager", "local"]
    done = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    written, place = f"model_dir/{source.name}", "model_dir/model"
    docker = part / "Dockerfile"
    if done.returncode or f"COPY {written} " not in (text := docker.read_text()):
        last = (done.stderr.strip().splitlines() or ["it said nothing"])[-1]
        raise StoreError(f"MLflow could not write a Dockerfile for this version: {last[:300].rstrip('. ')}.")
    (part / written).rename(part / place)
    docker.write_text(text.replace(f"COPY {written} ", f"COPY {place} "))
    return place


def _check(settings: Settings, version: Version, copied: Path, source: Path) -> str:
    digest = artifacts.compute_folder_digest(settings, copied)
    if digest != artifacts.compute_folder_digest(settings, source):
        raise StoreError(f"The files of {version.ref} changed while they were copied: package it again.")
    return digest


def _body(model: Path) -> str:
    """A request that the model takes: the example that was logged with it."""
    example = model / "serving_input_example.json"
    try:
        return json.dumps(json.loads(example.read_text()))
    except (OSError, ValueError):
        return json.dumps({"inputs": "…"}, ensure_ascii=False)


def _manifest(target: str, version: Version, packaged: Packaged, part: Path) -> dict[str, object]:
    files = {
        name: {"bytes": path.stat().st_size, "sha256": hashing.hash_file(path)}
        for name, path in sorted(hashing.walk_files(part).items())
    }
    return {
        "version": version.ref, "stage": version.stage, "run": version.run_id, "source": version.source,
        "digest": packaged.digest, "target": target, "model": packaged.model, "written": now_ms(),
        "by": f"phi3-playground {__version__}, mlflow {installed('mlflow')}", "files": files,
    }  # fmt: skip


def _readme(target: str, packaged: Packaged, described: Description) -> str:
    steps = "\n".join(
        f"{at}. {sentence}\n\n   ```sh\n   {command}\n   ```\n"
        for at, (sentence, command) in enumerate(described.steps, 1)
    )
    return f"""# {packaged.ref} for {target}

A model of MLflow's, in `{packaged.model}`, with the environment that it needs (`requirements.txt`, `conda.yaml`). Its
files' digest is `{packaged.digest}`; `{MANIFEST}` has every file's.

Words in capitals are yours to fill in. These commands were written from the platform's documentation, and were not run
when this folder was made.

{steps}
Without any platform, where MLflow is installed:

```sh
mlflow models serve -m {packaged.model} --env-manager virtualenv -p 5001
```
"""
