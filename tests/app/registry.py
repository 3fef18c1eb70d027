"""What the registry's pages show, as it is read."""

from __future__ import annotations

import re

from streamlit.testing.v1 import AppTest

from phi3core.access.roles import Person
from tests.app.conftest import said as escaped

ADA = Person("ada@example.org", "admin")


def said(at: AppTest) -> str:
    """What a page says, as it is read: without the signs that keep names from being taken for Markdown."""
    return re.sub(r"\\(.)", r"\1", escaped(at)).replace("\u2060", "")


def rows(at: AppTest, column: str = "Version") -> list[str]:
    return list(at.dataframe[0].value[column]) if at.dataframe else []


def tables(at: AppTest) -> str:
    return re.sub(r"\\(.)", r"\1", "\n".join(table.value.to_string() for table in at.table))


def code(at: AppTest) -> str:
    return "\n".join(block.value for block in at.code)
