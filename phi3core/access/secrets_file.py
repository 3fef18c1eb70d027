"""The secrets file: TOML that people write. It is read anew each time, so that a change counts at once.

Knows nothing of what its tables mean; each is checked where it is used.
"""

from __future__ import annotations

import tomllib
from typing import Any

from phi3core.errors import BadInput
from phi3core.settings import Settings


def read_secrets(settings: Settings) -> dict[str, Any]:
    """What the secrets file says now, {} where there is none. Raises BadInput naming the file and what is wrong."""
    file = settings.secrets
    try:
        return tomllib.loads(file.read_text())
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeDecodeError) as error:
        raise BadInput(f"{file} can't be read: {getattr(error, 'strerror', None) or 'it is no text'}.") from error
    except tomllib.TOMLDecodeError as error:
        raise BadInput(f"{file} is not written as TOML: {error}.") from error


def find_table(settings: Settings, secrets: dict[str, Any], name: str) -> dict[str, Any]:
    """One table of what `read_secrets` gave, {} where there is none. Raises BadInput for what is no table."""
    table = secrets.get(name, {})
    if not isinstance(table, dict):
        raise BadInput(f"{settings.secrets}: “{name}” must be a table: [{name}].")
    return table
