"""Several versions of one source, and the precision that is the default."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from filelock import FileLock

from phi3core import hashing, tags
from phi3core.build import ladder, steps
from phi3core.build.spec import BuildSpec
from phi3core.errors import BadInput
from phi3core.registry.models import Version
from phi3core.settings import Settings


def planned(*args: object) -> list[tuple[str, str, int]]:
    return [(spec.wrapper, spec.precision, spec.block) for spec in ladder.plan(BuildSpec("onnx"), *args)]  # type: ignore[arg-type]


def test_each_precision_is_built_by_the_wrapper_that_has_it_and_the_other_at_its_default() -> None:
    assert planned(["onnx"]) == [("onnx", "int4-mixed", 32)]
    assert planned(["transformers", "onnx"], ["int4", "int8"]) == [
        ("transformers", "bfloat16", 32),
        ("onnx", "int4", 32),
        ("onnx", "int8", 32),
    ]


def test_blocks_multiply_what_has_them_and_nothing_else() -> None:
    assert planned(["onnx"], ["int4", "fp32", "int4"], [16, 64]) == [
        ("onnx", "int4", 16),
        ("onnx", "int4", 64),
        ("onnx", "fp32", 32),
    ]


def test_what_no_chosen_wrapper_has_is_refused_by_name() -> None:
    with pytest.raises(BadInput, match="can't be built at “float16”. Choose among onnx: int4"):
        planned(["onnx"], ["float16"])
    with pytest.raises(BadInput, match="Blocks of 48 can't be built"):
        planned(["onnx"], ["int4"], [48])
    with pytest.raises(BadInput, match="What would be built has no blocks: bfloat16, int8"):
        planned(["transformers", "onnx"], ["int8"], [64])
    with pytest.raises(BadInput, match="“fp32” has no blocks"):
        BuildSpec("onnx", precision="fp32", block=16).validated()


def test_a_version_says_its_blocks_where_they_are_not_the_usual_ones() -> None:
    assert BuildSpec("onnx", precision="int4").precision_says == "int4"
    assert BuildSpec("onnx", precision="int4", block=64).precision_says == "int4 in blocks of 64"


def version(number: int, precision: str, size: int, kl: float, source: str = "hf:a/b") -> Version:
    known = {tags.SOURCE: source, tags.WRAPPER: "onnx", tags.PRECISION: precision, tags.SIZE: str(size)}
    metrics = {tags.PARITY_KL: kl, tags.PARITY_KL_HIGH: kl + 0.01}
    return Version("m", number, "None", (), "", known, datetime.now(UTC), "run", "", "READY", metrics)


def test_the_default_is_the_smallest_version_of_the_source_that_is_near_enough_and_says_so() -> None:
    listed = [version(1, "int8", 300, 0.01), version(2, "int4", 100, 0.4), version(3, "int4-mixed", 150, 0.2)]

    choice = ladder.choose_precision("onnx", "hf:a/b", [*listed, version(4, "int4", 90, 0.1, "hf:other/one")])

    assert choice.precision == "int4-mixed"
    assert "m/3 has 0.20 (m/1 at int8 0.01, m/2 at int4 0.40)" in choice.why


def test_where_nothing_was_compared_a_models_size_decides() -> None:
    far = [version(1, "int4", 100, 0.4)]

    assert ladder.choose_precision("onnx", "hf:a/b", far).precision == "int4"
    assert ladder.choose_precision("onnx", "hf:a/b", far, parameters=135_000_000).precision == "int4-mixed"
    assert ladder.choose_precision("onnx", "hf:a/b", far, parameters=3_800_000_000).precision == "int4"
    assert ladder.choose_precision("onnx", "embedded").precision == "int4-mixed"
    assert ladder.choose_precision("transformers", "embedded").precision == "bfloat16"


def test_builds_of_one_source_take_turns_and_say_so(settings: Settings) -> None:
    spec, told = BuildSpec("onnx", "hf:a/b"), list[str]()
    other = FileLock(settings.locks / f"build-{hashing.hash_texts(spec.source, '')[:16]}.lock")
    other.acquire()

    def report(_: float | None, text: str) -> None:
        told.append(text)
        other.release()  # the other build ends

    with steps._turn(settings, spec, report):
        assert told == ["waiting for another build of the same source"]
    with steps._turn(settings, spec, report), steps._turn(settings, BuildSpec("onnx", "hf:c/d"), report):
        assert len(told) == 1
