"""What a build is asked to make: its specification, checked; the defaults; and how a run's parameters record it."""

from __future__ import annotations

import json
import re
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

from phi3core import tags
from phi3core.build.sources.source import parse_source
from phi3core.errors import BadInput
from phi3core.wrappers.onnx import SIGNATURES
from phi3core.wrappers.pipeline import PIPELINE_PRECISIONS

from . import convert

PRECISIONS = {"transformers": PIPELINE_PRECISIONS, "onnx": convert.ONNX_PRECISIONS}
"""What each wrapper can be built at; the first is the default (see default_precision)."""

MAX_TOKENS = 100_000
"""The longest answer that a version can have as its default."""


def default_precision(wrapper: str, source: str) -> str:
    """The embedded model is too small to lose any precision: rounded to 4 bits everywhere, it babbles."""
    return "int4-mixed" if (wrapper, source) == ("onnx", "embedded") else PRECISIONS[wrapper][0]


@dataclass(frozen=True)
class BuildSpec:
    """What to build. temperature None takes the model's own. precision empty takes the default.

    base: the source of the model that an adapter is merged into; empty takes the one that the adapter names. block: how
    many numbers share a scale at 4 bits.
    """

    wrapper: Literal["transformers", "onnx"]
    source: str = "embedded"
    name: str = tags.DEMO_MODEL
    precision: str = ""
    signature: Literal["prompt", "chat"] = "prompt"
    max_tokens: int = 300
    temperature: float | None = None
    base: str = ""
    block: int = convert.BLOCK

    @property
    def precision_says(self) -> str:
        """The precision in words, as a version's tag has it."""
        return self.precision if self.block == convert.BLOCK else f"{self.precision} in blocks of {self.block}"

    def validated(self) -> BuildSpec:
        """This specification with its defaults filled in. Raises BadInput for what makes no sense."""
        if self.wrapper not in tags.WRAPPERS:
            raise BadInput(f"“{self.wrapper}” is not a wrapper. Choose {' or '.join(tags.WRAPPERS)}.")
        source = parse_source(self.source)
        precision = self.precision or default_precision(self.wrapper, str(source))
        if precision not in PRECISIONS[self.wrapper]:
            known = ", ".join(PRECISIONS[self.wrapper])
            raise BadInput(f"The {self.wrapper} wrapper can't be built at “{precision}”. Choose one of {known}.")
        if self.block != convert.BLOCK and precision not in convert.IN_BLOCKS:
            raise BadInput(f"“{precision}” has no blocks: leave them out, or choose int4 or int4-mixed.")
        if self.block not in convert.BLOCKS:
            known = ", ".join(map(str, convert.BLOCKS))
            raise BadInput(f"Blocks of {self.block} can't be built. Choose one of {known}.")
        if self.signature not in SIGNATURES:
            raise BadInput(f"“{self.signature}” is not a signature. Choose {' or '.join(SIGNATURES)}.")
        if not re.fullmatch(r"[\w .-]+", self.name) or not self.name.strip():
            raise BadInput("A model's name is made of letters, digits, spaces, “_”, “-” and “.”, such as phi3-mini.")
        if not 1 <= self.max_tokens <= MAX_TOKENS:
            raise BadInput(f"max_tokens must be between 1 and {MAX_TOKENS:,}.")
        if self.temperature is not None and not 0 <= self.temperature <= 2:
            raise BadInput("temperature must be between 0 and 2.")
        signature: Literal["prompt", "chat"] = "chat" if self.wrapper == "transformers" else self.signature
        base = str(parse_source(self.base)) if self.base.strip() else ""
        return replace(
            self, source=str(source), name=self.name.strip(), precision=precision, signature=signature, base=base
        )


def default_options(folder: Path, spec: BuildSpec) -> dict[str, Any]:
    """The generation options a version is logged with: the model's own, or the 2024 cookbook's temperature 0.2."""
    own: dict[str, Any] = {}
    for name, part in (("generation_config.json", None), ("genai_config.json", "search")):
        if (folder / name).is_file():
            found = json.loads((folder / name).read_text())
            own = found.get(part, {}) if part else found
    temperature = spec.temperature
    if temperature is None:
        temperature = float(own.get("temperature") or 0.2) if own.get("do_sample") else 0.2
    return {
        "max_tokens": spec.max_tokens,
        "temperature": min(max(temperature, 0.0), 2.0),
        "top_p": min(max(float(own.get("top_p") or 0.9), 0.01), 1.0),
        "top_k": max(int(own.get("top_k") or 50), 1),
        "min_p": min(max(float(own.get("min_p") or 0.0), 0.0), 1.0),
        "repetition_penalty": min(max(float(own.get("repetition_penalty") or 1.0), 0.1), 2.0),
        "seed": -1,
        "stop": [],
    }


MEASURES = "measure.ref"
"""The parameter of a job that is no build: its version. What that was built from is recorded as for a build."""
KIND = "job.kind"
"""The parameter that says which kind of job that is; where it is missing, one that measures a version anew."""


def is_job_run(params: dict[str, str]) -> bool:
    """Whether a run is a job's: other programs may log runs into the same experiment."""
    return params.get("build.wrapper") in tags.WRAPPERS


def spec_from_params(params: dict[str, str]) -> BuildSpec:
    """The specification that a run's parameters record."""
    names = asdict(BuildSpec("onnx"))
    fields: dict[str, Any] = {name: params[f"build.{name}"] for name in names if f"build.{name}" in params}
    fields["max_tokens"] = int(fields.get("max_tokens", 300))
    fields["block"] = int(fields.get("block", convert.BLOCK))
    text = fields.get("temperature", "None")
    fields["temperature"] = None if text == "None" else float(text)
    return BuildSpec(**fields)


def suggest_model_name(source: str) -> str:
    """A registered model's name for what comes from a source: the repository's or the folder's own."""
    found = parse_source(source)
    if found.kind == "embedded":
        return tags.DEMO_MODEL
    last = found.repo.split("/")[-1] if found.kind == "hub" else Path(found.path).name
    return re.sub(r"[^\w.-]+", "-", last).strip("-.").lower() or "my-model"
