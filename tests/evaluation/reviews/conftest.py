"""Reviews start with nothing known of earlier ones."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support import reviewing
from tests.support.saved_turns import no_senders_stay  # noqa: F401  (fixture)


@pytest.fixture(autouse=True)
def nothing_known() -> Iterator[None]:
    reviewing.forget()
    yield
    reviewing.forget()
