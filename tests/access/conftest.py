from __future__ import annotations

from collections.abc import Callable

import pytest

from phi3core.access.login import load_login
from phi3core.settings import Settings


@pytest.fixture
def write_secrets(settings: Settings) -> Callable[[str], Settings]:
    """Settings whose secrets file holds this text, in a process that has not asked for a login yet."""

    def write(text: str) -> Settings:
        settings.secrets.write_text(text)
        load_login.cache_clear()
        return settings

    return write
