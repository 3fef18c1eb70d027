"""What a source's files name outside of their folder is not read: by a link, or in an ONNX graph."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from phi3core.build.sources.fetch import fetch_weights
from phi3core.build.sources.source import Source
from phi3core.engine.weight_files import check_weights
from phi3core.errors import SourceError


def quiet(share: float | None, text: str) -> None:
    pass


def test_a_link_out_of_a_folder_is_refused_and_one_inside_is_followed(tiny: Path, tmp_path: Path) -> None:
    (tmp_path / "secret.json").write_text("{}")
    (tiny / "inside.json").symlink_to("config.json")
    assert fetch_weights(Source("folder", path=str(tiny)), tmp_path, quiet).folder == tiny
    (tiny / "deeper").mkdir()
    (tiny / "deeper" / "notes.json").symlink_to(tmp_path / "secret.json")

    with pytest.raises(SourceError, match=r"notes.json is a link out of the model's folder. Put the file itself"):
        fetch_weights(Source("folder", path=str(tiny)), tmp_path, quiet)


def test_a_revision_in_the_hubs_cache_is_made_of_links(tiny: Path, tmp_path: Path) -> None:
    repository = tmp_path / "models--acme--tiny"
    blobs, revision = repository / "blobs", repository / "snapshots" / "abc"
    revision.mkdir(parents=True)
    shutil.move(tiny, blobs)
    for file in blobs.iterdir():
        (revision / file.name).symlink_to(Path("..", "..", "blobs", file.name))

    assert fetch_weights(Source("folder", path=str(revision)), tmp_path, quiet).format == "transformers"
    (revision / "notes.txt").symlink_to(tmp_path / "models--other")
    with pytest.raises(SourceError, match="is a link out of"):
        fetch_weights(Source("folder", path=str(revision)), tmp_path, quiet)


@pytest.mark.parametrize("outside", ["../model.onnx.data", "/etc/passwd", "deeper/../../model.onnx.data"])
def test_weights_that_a_graph_names_outside_of_its_folder_are_refused(onnx_folder: Path, outside: str) -> None:
    import onnx

    shutil.move(onnx_folder / "model.onnx.data", onnx_folder.parent)
    (onnx_folder / "deeper").mkdir()
    graph = onnx.load(onnx_folder / "model.onnx", load_external_data=False)
    next(entry for entry in graph.graph.initializer[0].external_data if entry.key == "location").value = outside
    (onnx_folder / "model.onnx").write_bytes(graph.SerializeToString())

    with pytest.raises(SourceError, match="names weights outside of its folder .* which are not read"):
        check_weights(onnx_folder)
