"""What an operator lets the code of a model do, from the [models] tables of the secrets file.

[models."my-agent"]
network = true        # it may make connections; without it, none

Read when a version is opened. Knows nothing of how it is enforced.
"""

from __future__ import annotations

from typing import Any

from pydantic import Field

from phi3core.settings import Settings
from phi3core.validation import Table, validate

from .secrets_file import find_table, read_secrets


class ModelRights(Table):
    """The rights of one registered model.

    network: it may make connections, with the proxies and certificates of the app's own environment.
    """

    network: bool = Field(default=False)


def load_rights(settings: Settings, model: str) -> ModelRights:
    """The rights of a registered model; none where the file does not name it.

    Raises:
        BadInput: the secrets file can't be understood.
    """
    table: dict[str, Any] = find_table(settings, read_secrets(settings), "models").get(model, {})
    return validate(ModelRights, table, f"{settings.secrets}, [models.“{model}”]")
