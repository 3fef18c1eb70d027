"""What a CI is told: lines that are met or not, an exit status, and a JUnit file that shows each line as a test."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import click

from phi3core.clean_text import one_line
from phi3core.errors import BadInput
from phi3core.settings import Settings

JUNIT_HELP = "Write each line as a test to this file, JUnit's XML."


@dataclass(frozen=True)
class Line:
    """What is asked of a version. met: None where others settle it, so that it is told and does not count."""

    ref: str
    name: str
    met: bool | None
    says: str


def check_policy(
    config: Settings, refs: Sequence[str], stage: str, by: Literal["", "review", "evaluation"] = ""
) -> list[Line]:
    """The policy's lines for each version, but for the one that holds the stage.

    Args:
        by: only lines that this settles count; "" for all of them. That the policy can't be read counts always.

    Raises:
        BadInput: there is none of them to hold against a policy, or no policy has a line that counts.
    """
    from phi3core.promotion.policy import checks, policy, verdicts
    from phi3core.registry import reader

    stage = stage.capitalize()
    versions = [reader.get_version(config, ref) for ref in refs if not ref.startswith("endpoint:")]
    versions = [version for version in versions if version.stage != stage or not by]
    if not versions:
        raise BadInput(f"No version is left to hold against the policy of {stage}: name one that is not there yet.")
    found = []
    for version in versions:
        wanted = policy.read(config, version.name).get(stage, policy.Policy())
        counting = verdicts.settled_by(wanted, by) if by else set()
        for check in checks.checklist(config, version, stage):
            counts = not by or check.name in counting or check.name == "policy"
            found.append(Line(version.ref, check.name, check.met if counts else None, f"{check.name}: {check.says}"))
    if by and all(line.met is None for line in found):
        raise BadInput(f"The policy of {stage} asks nothing of a version that {_ARTICLE[by]} {by} would settle.")
    return found


_ARTICLE = {"review": "a", "evaluation": "an"}


def tell(lines: Sequence[Line], junit: Path | None, quiet: bool = False) -> None:
    """Print the lines, write the file, and end with exit status 1 where one is not met.

    Args:
        quiet: print to standard error alone, because standard output is read by a program.
    """
    for line in lines:
        mark = {True: "met", False: "not met", None: "settled elsewhere"}[line.met]
        click.echo(f"{mark}: {line.ref}: {line.says}", err=quiet or line.met is False)
    if junit is not None:
        _write(lines, junit)
    if any(line.met is False for line in lines):
        sys.exit(1)


def _write(lines: Sequence[Line], path: Path) -> None:
    from junitparser import Failure, JUnitXml, Skipped, TestCase, TestSuite

    told = JUnitXml("phi3")
    for ref in dict.fromkeys(line.ref for line in lines):
        suite = TestSuite(_clean(ref))
        for line in (line for line in lines if line.ref == ref):
            case = TestCase(_clean(line.name), classname=_clean(ref))
            case.system_out = _clean(line.says)
            if line.met is None:
                case.result = [Skipped(_clean(line.says))]
            elif not line.met:
                case.result = [Failure(_clean(line.says), "policy")]
            suite.add_testcase(case)
        told.add_testsuite(suite)
    told.update_statistics()
    try:
        told.write(str(path), pretty=True)
    except OSError as error:
        raise BadInput(f"{path} can't be written: {error.strerror}.") from error


def _clean(text: str) -> str:
    """XML holds no control characters."""
    return one_line(text, 2000)
