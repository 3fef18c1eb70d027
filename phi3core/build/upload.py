"""The size and the digest of a model that is logged, taken before MLflow uploads it.

So nothing is fetched from a store on a server only to be read.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from phi3core import hashing
from phi3core.registry import artifacts, filelist
from phi3core.settings import Settings
from phi3core.store.client import translate_errors

if TYPE_CHECKING:
    from mlflow.models.model import ModelInfo


@dataclass(frozen=True)
class Logged:
    """size: bytes of all files. digest: SHA-256 over them (`hashing.combine_digests`)."""

    size: int
    digest: str


@contextmanager
def watch_uploads() -> Iterator[list[Logged]]:
    """Note every model that MLflow uploads meanwhile; one whose files stay on this machine can be read afterwards.

    MLflow writes a model to a temporary folder, sends it off and removes it, all in one call, and has no hook between.
    """
    from mlflow import MlflowClient

    upload, noted = MlflowClient.log_model_artifacts, list[Logged]()

    def note(client: MlflowClient, model_id: str, local_dir: str, artifact_path: str | None = None) -> Any:
        where = str(client.get_logged_model(model_id).artifact_location)
        if urlsplit(where).scheme not in ("", "file"):
            files = filelist.local_files(Path(local_dir))
            digests = {name: hashing.hash_file(path) for name, path in files.items()}
            size = sum(path.stat().st_size for path in files.values())
            noted.append(Logged(size, hashing.combine_digests(digests)))
        return upload(client, model_id, local_dir, artifact_path)

    MlflowClient.log_model_artifacts = note  # type: ignore[method-assign, assignment]
    try:
        yield noted
    finally:
        MlflowClient.log_model_artifacts = upload  # type: ignore[method-assign]


def read_logged(settings: Settings, info: ModelInfo, noted: list[Logged]) -> Logged:
    """What was logged: as it was noted, else as its files on this machine say."""
    import mlflow

    if noted:
        return noted[-1]
    with translate_errors(settings):
        folder = Path(mlflow.artifacts.download_artifacts(info.model_uri))
    return Logged(hashing.folder_size(folder), artifacts.compute_folder_digest(settings, folder))
