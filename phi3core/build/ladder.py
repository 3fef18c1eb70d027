"""Several versions of one source: which ones, and at which precision where none is asked for.

They are builds like others. Those of one source take turns (`steps.run_build`), so that it is fetched once, and each
conversion is made once.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from phi3core import tags
from phi3core.errors import BadInput
from phi3core.registry.models import Version

from .convert import BLOCK, IN_BLOCKS
from .spec import PRECISIONS, BuildSpec, default_precision

NEAR = 0.25
"""The mean KL divergence from its source, in nats, up to which a version counts as near enough to be the default."""
_SMALL = 1_000_000_000  # parameters


@dataclass(frozen=True)
class Choice:
    """A precision and why it is the default, as a sentence."""

    precision: str
    why: str


def choose_precision(
    wrapper: str, source: str, versions: Iterable[Version] = (), parameters: int | None = None
) -> Choice:
    """The default precision for a source, by what was measured of its versions, else by its size.

    Args:
        versions: that may be of this source.
        parameters: of the model, None where they are not known.
    """
    if wrapper != "onnx":
        return Choice(default_precision(wrapper, source), "The wrapper’s own: what most models are published in.")
    known = [v for v in versions if v.tags.get(tags.SOURCE) == source and v.wrapper == wrapper and v.size]
    measured = [v for v in known if tags.PARITY_KL_HIGH in v.metrics and v.precision in PRECISIONS[wrapper]]
    near = [v for v in measured if v.metrics[tags.PARITY_KL_HIGH] <= NEAR]
    if near:
        best = min(near, key=lambda version: version.size or 0)
        others = ", ".join(f"{v.ref} at {v.precision} {v.metrics[tags.PARITY_KL]:.2f}" for v in measured if v != best)
        beside = f" ({others})" if others else ""
        return Choice(
            best.precision,
            f"The smallest version of this source whose mean KL divergence is at most {NEAR}: {best.ref} has "
            f"{best.metrics[tags.PARITY_KL]:.2f}{beside}.",
        )
    if source == "embedded" or (parameters and parameters < _SMALL):
        return Choice(
            "int4-mixed",
            "It is a small model, and such ones lose most: of the embedded model all layers at 4 bits have a mean KL "
            "divergence of 0.43 from its weights, the sensitive ones at 8 bits 0.21.",
        )
    return Choice(
        default_precision(wrapper, source), "As Microsoft publishes Phi-3; none of its versions was compared."
    )


def plan(
    spec: BuildSpec, wrappers: Sequence[str], precisions: Sequence[str] = (), blocks: Sequence[int] = ()
) -> list[BuildSpec]:
    """A build for each wrapper and each of the precisions that it has, at 4 bits for each size of blocks, checked.

    Args:
        spec: what they have in common.
        precisions: none takes each wrapper's default; a wrapper that has none of them is built at its default, too.

    Raises:
        BadInput: a wrapper, a precision or a size of blocks is none, or blocks are asked for where nothing has them.
    """
    wrappers, blocks = wrappers or [spec.wrapper], blocks or [spec.block]
    if odd := [one for one in precisions if not any(one in PRECISIONS.get(wrapper, ()) for wrapper in wrappers)]:
        known = "; ".join(f"{one}: {', '.join(PRECISIONS[one])}" for one in wrappers if one in PRECISIONS)
        raise BadInput(f"A version can't be built at “{odd[0]}”. Choose among {known}.")
    specs = []
    for wrapper in wrappers:
        own = [one for one in precisions if one in PRECISIONS.get(wrapper, ())] or [spec.precision]
        for precision in own:
            one = replace(spec, wrapper=wrapper, precision=precision, block=BLOCK).validated()  # type: ignore[arg-type]
            sizes = blocks if one.precision in IN_BLOCKS else [BLOCK]
            specs += [replace(one, block=size).validated() for size in sizes]
    if set(blocks) != {BLOCK} and not any(one.precision in IN_BLOCKS for one in specs):
        raise BadInput(
            f"What would be built has no blocks: {', '.join(dict.fromkeys(one.precision for one in specs))}. Leave the "
            f"size of blocks out, or ask for {' or '.join(IN_BLOCKS)}."
        )
    return list(dict.fromkeys(specs))
