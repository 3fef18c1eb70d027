"""What a source is and what each wrapper would make of it, told before a build: the data, and how it is asked for.

`source_inspector.py` looks; `inspect_apart` has it do so in a process of its own, because the libraries that it asks
bring PyTorch, and because a hub may be slow.
"""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from collections import defaultdict
from dataclasses import dataclass

from phi3core.errors import BaseNeeded, Cancelled, SourceError
from phi3core.text import bytes_in_words

from .fit import NO_TEMPLATE

INSPECTION_LIMIT = 120.0
"""Seconds after which a source that does not answer is given up."""


_looking: defaultdict[tuple[str, str], set[subprocess.Popen[str]]] = defaultdict(set)
"""The processes that look and were not stopped, by what they look at."""


@dataclass(frozen=True)
class Outlook:
    """What a wrapper would make of a source.

    makes: in words. problem: why it can't; empty where it can. disk, memory: bytes that the build needs, as estimated.
    """

    wrapper: str
    makes: str = ""
    problem: str = ""
    disk: int = 0
    memory: int = 0


@dataclass(frozen=True)
class Inspection:
    """A source as it was found.

    format: ``transformers`` or ``onnx``. parameters: how many numbers its weights are, None where that is not told.
    size: bytes of its weights. context: tokens, None where it is not told. template: whether it has a chat template.
    base: of an adapter, the source of the model below it; architecture, parameters, size and context are that model's.
    disk_free, memory_free: bytes left on the machine that builds.
    """

    source: str
    format: str
    architecture: str
    revision: str = ""
    parameters: int | None = None
    size: int = 0
    context: int | None = None
    licence: str = "unknown"
    template: bool = False
    base: str = ""
    outlooks: tuple[Outlook, ...] = ()
    disk_free: int = 0
    memory_free: int = 0

    def refusal(self, wrapper: str, signature: str) -> str:
        """Why this wrapper can't make a version with this signature; empty where it can."""
        problem = next(outlook.problem for outlook in self.outlooks if outlook.wrapper == wrapper)
        if not problem and (wrapper, signature) == ("onnx", "chat") and not self.template:
            return NO_TEMPLATE
        return problem


def inspect_apart(source: str, base: str = "", limit: float = INSPECTION_LIMIT) -> Inspection:
    """Look at a source in a process of its own, which ends with this one.

    Args:
        source: a folder or ``hf:owner/repo[@revision][/folder]``.
        base: what an adapter is merged into; empty takes what it names.
        limit: seconds.

    Raises:
        BaseNeeded: it is an adapter, and its base is not named or can't be had.
        Cancelled: `stop_looking` was called.
        SourceError: nothing can be built of it, and why; or it did not answer in time.
    """
    command = [sys.executable, "-m", "phi3core.build.source_inspector", source, base]
    started = time.monotonic()
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as child:
        over_time = threading.Timer(limit, child.kill)
        over_time.start()
        assert child.stdout
        _looking[source, base].add(child)
        lines = child.stdout.read().splitlines()
        over_time.cancel()
        stopped = child not in _looking[source, base]
        _looking[source, base].discard(child)
    if child.returncode == 0 and lines:
        return _from_line(lines[-1])
    if stopped:
        raise Cancelled(f"{source} was not looked at to its end: it was stopped. Inspect it again.")
    if time.monotonic() - started >= limit:
        raise SourceError(f"{source} did not answer within {limit:.0f} seconds. Check the network, then try again.")
    raise SourceError(f"{source} could not be looked at: the process that did it ended. The app's log says why.")


def stop_looking(source: str, base: str = "") -> None:
    """End what looks at this source, for all who wait for it: the next look would share the processors with it."""
    for child in _looking.pop((source, base), ()):
        child.kill()


def _from_line(line: str) -> Inspection:
    told = json.loads(line)
    if problem := told.get("problem"):
        raise (BaseNeeded if told["base_needed"] else SourceError)(problem)
    return Inspection(**{**told, "outlooks": tuple(Outlook(**outlook) for outlook in told["outlooks"])})


def describe(found: Inspection) -> str:
    """An inspection in lines of plain text."""
    count = f", {found.parameters / 1e6:,.1f} million parameters" if found.parameters else ""
    lines = [
        found.source + (f", an adapter of {found.base}" if found.base else ""),
        f"  {found.architecture}{count}, {bytes_in_words(found.size)} of weights, licence {found.licence}",
        f"  context: {f'{found.context:,} tokens' if found.context else 'not told'}; "
        f"{'a' if found.template else 'no'} chat template",
    ]
    for one in found.outlooks:
        needs = f" Needs about {bytes_in_words(one.disk)} of disk and {bytes_in_words(one.memory)} of memory."
        lines.append(f"  {one.wrapper}: {one.makes + needs if not one.problem else one.problem}")
    free = f"{bytes_in_words(found.disk_free)} of disk and {bytes_in_words(found.memory_free)} of memory"
    return "\n".join([*lines, f"  This machine has {free} left."])
