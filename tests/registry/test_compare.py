"""Comparing two versions: real models on disk, and what is told of what differs between them."""

from __future__ import annotations

from pathlib import Path

import pytest

from phi3core import tags
from phi3core.registry import compare, reader
from phi3core.registry.compare import Comparison, Difference
from phi3core.settings import Settings, load_settings
from phi3core.store.client import mlflow_client
from tests.support import fakes, logged


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Two saved models that differ in an option, a dependency, the chat template and, with it, files."""
    folder = tmp_path_factory.mktemp("models")
    one = logged.save(folder / "one", ("mlflow==3.17.2", "numpy>=2"), top_p=1)
    other = logged.save(folder / "other", ("mlflow==3.17.2", "pandas==3.1.1"), template="{{ messages }}", top_n=1)
    return one, other


def compared(settings: Settings, left: str, right: str) -> Comparison:
    return compare.compare_versions(settings, reader.get_version(settings, left), reader.get_version(settings, right))


def changed(found: Comparison, section: str) -> dict[str, tuple[str, str]]:
    return {d.name: (d.left, d.right) for d in found.differences if d.section == section and not d.same}


def named(found: Comparison, section: str) -> list[Difference]:
    return [difference for difference in found.differences if difference.section == section]


def test_every_section_tells_what_differs_and_what_does_not(settings: Settings, two: tuple[Path, Path]) -> None:
    one = logged.register(settings, "phi3", two[0], {"team": "search"}, {"speed": 100.0, "win_rate": 0.5})
    other = logged.register(settings, "edge", two[1], {"team": "support"}, {"speed": 80.0, "win_rate": 0.5})
    for ref, rate in ((one, "0.1"), (other, "0.2")):
        mlflow_client(settings).log_param(reader.get_version(settings, ref).run_id, "rate", rate)

    found = compared(settings, one, other)

    assert changed(found, "Metrics") == {"speed": ("100", "80 (−20.0 %)")}
    assert changed(found, "Parameters") == {"rate": ("0.1", "0.2")}
    assert changed(found, "Tags")["team"] == ("search", "support")
    assert changed(found, "Dependencies") == {"numpy": (">=2", ""), "pandas": ("", "3.1.1")}
    assert changed(found, "Chat template") == {"template": (logged.TEMPLATE, "{{ messages }}")}
    assert set(changed(found, "Signature")) == {"Option top_p", "Option top_n"}
    assert {"MLmodel", "requirements.txt", "tokenizer/chat_template.jinja"} <= set(changed(found, "Files"))
    same = {(d.section, d.name) for d in found.differences if d.same}
    assert {("Metrics", "win_rate"), ("Signature", "Input prompt"), ("Dependencies", "mlflow")} <= same
    assert ("Files", "conda.yaml") not in same
    assert ("Files", "python_env.yaml") in same
    assert found.unread == ()
    order = [difference.section for difference in found.differences]
    assert list(dict.fromkeys(order)) == list(compare.SECTIONS)


def test_what_would_break_a_program_is_told_apart_from_what_only_differs(
    settings: Settings, two: tuple[Path, Path]
) -> None:
    one, other = (logged.register(settings, "phi3", folder) for folder in two)
    found = compared(settings, one, other)
    assert found.breaks == ("The option “top_p” is no longer known: MLflow drops it without a word.",)
    assert [d.name for d in found.differences if d.breaks] == ["Option top_p"]
    assert found.takes == ("It takes “prompt” (text) and gives text.",) * 2


def test_files_of_equal_size_and_other_content_differ(
    settings: Settings, tmp_path: Path, two: tuple[Path, Path]
) -> None:
    import shutil

    twin = shutil.copytree(two[0], tmp_path / "twin")
    (twin / "tokenizer" / "chat_template.jinja").write_text(logged.TEMPLATE.replace("content", "CONTENT"))
    one, other = (logged.register(settings, "phi3", folder) for folder in (two[0], twin))
    assert set(changed(compared(settings, one, other), "Files")) == {"tokenizer/chat_template.jinja"}


def test_a_version_compared_with_itself_differs_in_nothing(settings: Settings, two: tuple[Path, Path]) -> None:
    ref = logged.register(settings, "phi3", two[0], {}, {"speed": 1.0})
    found = compared(settings, ref, ref)
    assert found.differences
    assert all(difference.same and not difference.breaks for difference in found.differences)
    assert found.breaks == ()


def test_a_version_whose_files_are_gone_is_compared_in_all_else(
    settings: Settings, tmp_path: Path, two: tuple[Path, Path]
) -> None:
    one = logged.register(settings, "phi3", two[0], {"team": "search"})
    lost = f"phi3/{fakes.register(settings, 'phi3', (tmp_path / 'gone').as_uri(), {'team': 'support'})}"
    found = compared(settings, one, lost)
    assert changed(found, "Tags")["team"] == ("search", "support")
    assert not named(found, "Signature")  # not known is no difference, and breaks nothing
    assert not named(found, "Files")
    assert found.breaks == ()
    assert len(found.unread) == 1
    assert found.unread[0].startswith(f"{lost}: The model's own files can't be read")


def test_a_model_without_a_signature_checks_nothing_and_that_is_told(settings: Settings, tmp_path: Path, two) -> None:  # type: ignore[no-untyped-def]
    from mlflow.models import Model

    (tmp_path / "bare").mkdir()
    Model(flavors={"python_function": {}}).save(str(tmp_path / "bare" / "MLmodel"))
    one = logged.register(settings, "phi3", two[0])
    bare = f"phi3/{fakes.register(settings, 'phi3', (tmp_path / 'bare').as_uri())}"
    assert "no longer checked" in compared(settings, one, bare).breaks[0]
    assert "refused now" in compared(settings, bare, one).breaks[0]


def test_files_elsewhere_are_compared_by_size_and_that_is_said(
    settings: Settings, http_server: str, two: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch, fresh: str
) -> None:
    """Two versions on a server: their content is not fetched for a comparison, unless it is asked for."""
    import mlflow

    monkeypatch.setenv("MLFLOW_TRACKING_URI", http_server)
    remote = load_settings()
    mlflow_client(remote)
    for folder in two:
        with mlflow.start_run() as run:
            mlflow.log_artifacts(str(folder), "model")
        mlflow_client(remote).create_registered_model(fresh) if folder is two[0] else None
        mlflow_client(remote).create_model_version(fresh, f"runs:/{run.info.run_id}/model", run.info.run_id)
    left, right = (reader.get_version(remote, f"{fresh}/{number}") for number in (1, 2))

    seen = compare.compare_versions(remote, left, right)
    assert "only the size was compared" in seen.unread[0]
    assert any(difference.unsure for difference in seen.differences)
    assert "tokenizer/chat_template.jinja" in changed(seen, "Files")
    assert found_digests(seen) == 0
    fetched = compare.compare_versions(remote, left, right, fetch=True)
    assert fetched.unread == ()
    assert found_digests(fetched) > 0


def found_digests(found: Comparison) -> int:
    return sum("…" in difference.left for difference in named(found, "Files"))


def test_our_own_metrics_are_told_with_their_units_before_all_others(settings: Settings) -> None:
    figures = {tags.PEAK_MEMORY: 2.07342e9, tags.TOKENS_PER_SECOND: 112.4, "loss": 0.25, tags.SIZE_METRIC: 117e6}
    one, other = (
        reader.get_version(settings, f"phi3/{fakes.register(settings, metrics=some)}")
        for some in (figures, figures | {tags.TOKENS_PER_SECOND: 56.2})
    )

    found = [d for d in compare.compare_versions(settings, one, other).differences if d.section == "Metrics"]

    assert [(d.name, d.left, d.right) for d in found] == [
        (tags.TOKENS_PER_SECOND, "112 tokens/s", "56.2 tokens/s (−50.0 %)"),
        (tags.PEAK_MEMORY, "2.07 GB", "2.07 GB"),
        (tags.SIZE_METRIC, "117.0 MB", "117.0 MB"),
        ("loss", "0.25", "0.25"),
    ]
