from __future__ import annotations

from pathlib import Path

from phi3core import hashing


def test_a_digest_changes_with_the_content_and_with_the_names(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("1")
    digests = {hashing.hash_folder(tmp_path)}
    (tmp_path / "a").write_text("2")
    digests.add(hashing.hash_folder(tmp_path))
    (tmp_path / "a").rename(tmp_path / "b")
    digests.add(hashing.hash_folder(tmp_path))

    assert len(digests) == 3


def test_parts_of_a_key_do_not_run_together() -> None:
    assert hashing.hash_texts("ab", "c") != hashing.hash_texts("a", "bc")


def test_a_size_counts_the_files_of_all_folders_below(tmp_path: Path) -> None:
    (tmp_path / "below").mkdir()
    (tmp_path / "a").write_bytes(b"123")
    (tmp_path / "below" / "b").write_bytes(b"4567")

    assert hashing.folder_size(tmp_path) == 7
