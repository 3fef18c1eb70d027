"""What differs between two versions, of one registered model or of two, and what would break the programs that call it.

Reads the store and the versions' files, both versions at once; writes nothing.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Final

from phi3core import tags
from phi3core.errors import Phi3Error
from phi3core.settings import Settings

from . import artifacts, reader, signature
from .models import Version

SIGNATURE: Final = "Signature"
CHAT_TEMPLATE: Final = "Chat template"
_UNITS = {
    tags.TOKENS_PER_SECOND: "tokens/s",
    tags.FIRST_TOKEN_MS: "ms",
    tags.PEAK_MEMORY: "bytes",
    tags.LOAD: "%",
    tags.SIZE_METRIC: "bytes",
    tags.SECONDS: "s",
}
_Files = dict[str, tuple[int, str]]
METRICS: Final = "Metrics"
SECTIONS: Final = (METRICS, SIGNATURE, "Parameters", "Tags", "Dependencies", CHAT_TEMPLATE, "Files")


@dataclass(frozen=True)
class Difference:
    """One thing of the two versions. section: one of SECTIONS. left, right: empty where a version has none of it.

    same: nothing differs. unsure: a file whose size is the same and whose content is not on this machine. breaks: what
    a program that calls the left one meets at the right one; empty if nothing.
    """

    section: str
    name: str
    left: str
    right: str
    same: bool
    breaks: str = ""
    unsure: bool = False


@dataclass(frozen=True)
class Comparison:
    """Everything of both versions, in the order of SECTIONS.

    breaks: what programs that call the left one meet at the right one, in few sentences. takes: what each one takes, in
    a sentence. unread: sentences about what could not be compared.
    """

    differences: tuple[Difference, ...]
    breaks: tuple[str, ...]
    takes: tuple[str, str]
    unread: tuple[str, ...]


def compare_versions(settings: Settings, left: Version, right: Version, fetch: bool = False) -> Comparison:
    """Compare two versions. fetch: files that are not on this machine are fetched, for their content to be compared.

    What can't be read is told in `Comparison.unread`, and the rest is compared. Raises StoreDown.
    """
    with ThreadPoolExecutor(2) as pool:  # a slow store is waited for once
        one, other = pool.map(lambda version: _facts(settings, version, fetch), (left, right))
    found = [
        *_metrics(one.metrics, other.metrics),
        *_signature(one.signature, other.signature),
        *_plain("Parameters", one.parameters, other.parameters),
        *_plain("Tags", left.tags, right.tags),
        *_plain("Dependencies", one.dependencies, other.dependencies),
        *_plain(CHAT_TEMPLATE, one.template, other.template),
        *_files(one.files, other.files),
    ]
    unread = (one.unread, other.unread, _only_sizes(one.files, other.files))
    before, after = one.signature, other.signature
    breaks = () if before is None or after is None else tuple(signature.breaking_changes(before, after))
    takes = signature.describe_signature(before or {}), signature.describe_signature(after or {})
    return Comparison(tuple(found), breaks, takes, tuple(sentence for sentence in unread if sentence))


def find_breaks(settings: Settings, old: Version, new: Version) -> tuple[list[str], str]:
    """What programs that call the old version meet where they are given the new one, by the signatures alone.

    Returns the sentences, worst first, [] where nothing breaks; and why a signature could not be read, "" where both
    were. Raises StoreDown.
    """
    with ThreadPoolExecutor(2) as pool:  # a slow store is waited for once
        before, after = pool.map(lambda version: reader.get_details(settings, version), (old, new))
    if unread := before.mlmodel_error or after.mlmodel_error:
        return [], unread
    return signature.breaking_changes(before.signature, after.signature), ""


@dataclass
class _Facts:
    """What is compared of one version; None where it could not be read. files: path → (size, SHA-256 or empty)."""

    metrics: dict[str, float]
    parameters: dict[str, str]
    signature: dict[str, Any] | None = None
    dependencies: dict[str, str] | None = None
    template: dict[str, str] | None = None
    files: _Files | None = None
    unread: str = ""


def _facts(settings: Settings, version: Version, fetch: bool) -> _Facts:
    detail = reader.get_details(settings, version)
    facts = _Facts(version.metrics, dict(detail.parameters))
    if detail.mlmodel_error:
        facts.unread = f"{version.ref}: {detail.mlmodel_error}"
        return facts
    facts.signature = detail.signature
    facts.parameters |= {f"options.{name}": json.dumps(value) for name, value in detail.options.items()}
    try:
        python = artifacts.read_python_version(settings, version)
        needs = {"flavors": ", ".join(detail.flavors)} | ({"python": python} if python else {})
        facts.dependencies = needs | dict(map(_requirement, artifacts.read_requirements(settings, version)))
        template = artifacts.read_chat_template(settings, version)
        facts.template = {"template": template} if template else {}
        read = fetch or artifacts.local_folder(settings, version) is not None
        listed = artifacts.list_files(settings, version, read=read)
        facts.files = {file.path: (file.size, file.sha256) for file in listed}
    except Phi3Error as error:
        facts.unread = str(error)
    return facts


def _requirement(line: str) -> tuple[str, str]:
    """A line of requirements.txt as name and the rest: ``mlflow==3.17.2`` → mlflow, 3.17.2."""
    found = re.match(r"([\w.-]+(?:\[[^]]*\])?)\s*(.*)", line)
    if not found:
        return line, "any version"
    name, rest = found.groups()
    return name.lower().replace("_", "-"), rest.removeprefix("==").strip() or "any version"


def _signature(before: dict[str, Any] | None, after: dict[str, Any] | None) -> Iterator[Difference]:
    if before is None or after is None:
        return
    if bool(before) != bool(after):
        breaks = " ".join(signature.breaking_changes(before, after))
        was, now = (signature.describe_signature(side) if side else "" for side in (before, after))
        yield Difference(SIGNATURE, "The whole signature", was, now, False, breaks)
        return
    for change in signature.compare_signatures(before, after):
        breaks = " ".join(str(each) for each in change.breaks)
        yield Difference(SIGNATURE, change.name, change.was, change.now, change.same, breaks)


def _metrics(left: Mapping[str, float], right: Mapping[str, float]) -> Iterator[Difference]:
    """In the order of our own metrics, then the others by name; with their units."""
    listed = [name for name in _UNITS if name in left or name in right]
    for name in [*listed, *sorted((left.keys() | right.keys()) - _UNITS.keys())]:
        one, other = left.get(name), right.get(name)
        yield Difference(
            METRICS, name, _with_unit(name, one), _with_unit(name, other) + _change(one, other), one == other
        )


def _with_unit(name: str, value: float | None) -> str:
    """A metric for reading: ``112 tokens/s``, ``2.07 GB``."""
    if value is None:
        return ""
    unit = _UNITS.get(name, "")
    if unit == "bytes":
        return f"{value / 1e9:,.2f} GB" if value >= 1e9 else f"{value / 1e6:,.1f} MB"
    number = f"{value:,.0f}" if abs(value) >= 100 else f"{value:,.4g}"
    return f"{number} {unit}".strip()


def _plain(section: str, left: Mapping[str, object] | None, right: Mapping[str, object] | None) -> Iterator[Difference]:
    if left is None or right is None:
        return
    for name in sorted(left.keys() | right.keys()):
        one, other = left.get(name), right.get(name)
        yield Difference(section, name, _text(one), _text(other) + _change(one, other), one == other)


def _files(left: _Files | None, right: _Files | None) -> Iterator[Difference]:
    """By path. Where a digest is not known, size alone decides, and `_only_sizes` says so."""
    if left is None or right is None:
        return
    for path in sorted(left.keys() | right.keys(), key=lambda path: path.split("/")):
        one, other = left.get(path), right.get(path)
        by_content = one is not None and other is not None and one[1] and other[1]
        same = one is not None and other is not None and (one[1] == other[1] if by_content else one[0] == other[0])
        yield Difference("Files", path, _file(one), _file(other), same, unsure=same and not by_content)


def _only_sizes(left: _Files | None, right: _Files | None) -> str:
    """A sentence where equal sizes are all that is known of some files."""
    left, right = left or {}, right or {}
    both = [(left[path], right[path]) for path in left.keys() & right.keys()]
    count = sum(one[0] == other[0] and not (one[1] and other[1]) for one, other in both)
    if not count:
        return ""
    of = "one file" if count == 1 else f"{count} files"
    return f"Of {of} only the size was compared, because the content is not on this machine."


def _file(known: tuple[int, str] | None) -> str:
    if known is None:
        return ""
    size, sha256 = known
    return f"{size:,} bytes" + (f", {sha256[:12]}…" if sha256 else "")


def _text(value: object) -> str:
    if value is None:
        return ""
    return f"{value:,.6g}" if isinstance(value, float) else str(value)


def _change(one: object, other: object) -> str:
    """How much a metric changed: `` (+12.5 %)``."""
    if not isinstance(one, float) or not isinstance(other, float) or one == other or not one:
        return ""
    return f" ({(other - one) / abs(one) * 100:+,.1f} %)".replace("-", "−")
