"""Folders that today's libraries do not read as they are."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from phi3core.build.sources.fetch import fetch_weights
from phi3core.build.sources.source import Source
from phi3core.engine.interface import Piece
from phi3core.engine.weights import open_weights
from phi3core.errors import SourceError
from tests.build.sources.test_source import quiet

HELLO = [{"role": "user", "content": "Hello"}]


def fetch(folder: Path, cache: Path) -> Path:
    return fetch_weights(Source("folder", path=str(folder)), cache, quiet).folder


def use_sentencepiece(folder: Path) -> None:
    """Leave a tokenizer.model alone in the place of the tokenizer."""
    import sentencepiece

    text = iter(["hello world, the quick brown fox jumps over the lazy dog"] * 20)
    with (folder / "tokenizer.model").open("wb") as file:
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=text, model_writer=file, vocab_size=330, model_type="bpe", byte_fallback=True,
            hard_vocab_limit=False, normalization_rule_name="identity", remove_extra_whitespaces=False,
            minloglevel=2, num_threads=1,
        )  # fmt: skip
    (folder / "tokenizer.json").unlink()
    told = {"tokenizer_class": "LlamaTokenizer", "bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"}
    (folder / "tokenizer_config.json").write_text(json.dumps(told))


def test_a_folder_that_is_read_as_it_is_stays_where_it_is(tiny: Path, tmp_path: Path) -> None:
    assert fetch(tiny, tmp_path / "cache") == tiny


def test_a_tokenizer_that_is_a_sentencepiece_model_alone_is_converted(tiny: Path, tmp_path: Path) -> None:
    use_sentencepiece(tiny)

    from sentencepiece import SentencePieceProcessor
    from tokenizers import Tokenizer

    folder = fetch(tiny, tmp_path / "cache")

    text = "a the quick fox, hello  world é"
    own = SentencePieceProcessor(model_file=str(tiny / "tokenizer.model")).encode(text)
    made = Tokenizer.from_file(str(folder / "tokenizer.json")).encode(text, add_special_tokens=False)
    assert made.ids[-10:] == own[-10:]  # the first depends on whether a space is put before the text
    assert open_weights(folder, "transformers").chat == "template"
    assert not (tiny / "tokenizer.json").exists()
    assert fetch(tiny, tmp_path / "cache") == folder


def test_a_tokenizer_that_is_none_says_so(tiny: Path, tmp_path: Path) -> None:
    (tiny / "tokenizer.json").rename(tiny / "tokenizer.model")

    with pytest.raises(SourceError, match=r"The tokenizer \(tokenizer\.model\) can't be read: .* tokenizer\.json"):
        fetch(tiny, tmp_path / "cache")


def test_what_is_missing_of_an_onnx_model_is_its_tokenizer_json(tiny_onnx: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(tiny_onnx, tmp_path / "onnx")
    (folder / "tokenizer.json").rename(folder / "tokenizer.model")

    with pytest.raises(SourceError, match=r"^tokenizer\.json is missing\. .* it is no SentencePiece model\. ") as told:
        fetch(folder, tmp_path / "cache")
    assert "tiktoken" not in str(told.value)


def test_the_old_name_of_longrope_is_understood(tiny: Path, tmp_path: Path) -> None:
    config = json.loads((tiny / "config.json").read_text())
    del config["rope_parameters"]
    old = {"type": "su", "long_factor": [2.0] * 8, "short_factor": [1.0] * 8}
    config |= {"max_position_embeddings": 512, "rope_theta": 10000.0, "rope_scaling": old}
    (tiny / "config.json").write_text(json.dumps(config))

    folder = fetch(tiny, tmp_path / "cache")

    engine = open_weights(folder, "transformers")
    answer = engine.stream(engine.prepare(HELLO), engine.options.but(max_tokens=20, seed=1), lambda: False)
    assert engine.context_length == 512
    assert any(isinstance(piece, Piece) for piece in answer)
    assert json.loads((tiny / "config.json").read_text())["rope_scaling"]["type"] == "su"  # the source is not ours
