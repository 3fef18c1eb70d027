"""The tracking servers that versions may be copied to: the secrets file names each, with credentials of its own.

[copy.edge]
uri = "https://mlflow.edge.example.org"
token_env = "EDGE_TOKEN"                    # or token = "…", or username and password; none where it asks for none
environment = { AWS_PROFILE = "edge" }      # what else its artifact store needs

Nothing is copied elsewhere, and no other credential of this app goes along (`copy_sender`).
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Self
from urllib.parse import urlsplit

from pydantic import Field, field_validator, model_validator

from phi3core.access.secrets_file import find_table, read_secrets
from phi3core.errors import BadInput
from phi3core.settings import Settings
from phi3core.store.client import hide_password
from phi3core.validation import Table, validate

_SCHEMES = ("http", "https", "sqlite", "postgresql", "mysql", "mssql", "databricks")


class Target(Table):
    """[copy.NAME] as it is written. uri: as MLflow takes it. environment: variables for the process that sends."""

    uri: Annotated[str, Field(min_length=1)]
    token: str = Field(default="", repr=False)
    token_env: str = ""
    username: str = ""
    password: str = Field(default="", repr=False)
    environment: dict[str, str] = Field(default_factory=dict, repr=False)

    @field_validator("uri")
    @classmethod
    def _is_a_store(cls, text: str) -> str:
        if urlsplit(text).scheme.split("+")[0] not in _SCHEMES:
            raise ValueError("“uri” is no tracking URI: write the address of an MLflow server, as http://mlflow:5000.")
        return text.rstrip("/")

    @model_validator(mode="after")
    def _one_way_in(self) -> Self:
        if sum(map(bool, (self.token, self.token_env, self.username))) > 1:
            raise ValueError("give “token”, “token_env” or “username”, not several of them.")
        if self.token_env and not os.environ.get(self.token_env):
            raise ValueError(f"“token_env” names the environment variable {self.token_env}, which is not set.")
        return self

    @property
    def address(self) -> str:
        """The uri without its password."""
        return hide_password(self.uri, self.uri)

    def variables(self) -> dict[str, str]:
        """What MLflow's client reads its credentials for this server from."""
        found = {
            "MLFLOW_TRACKING_TOKEN": self.token or os.environ.get(self.token_env, ""),
            "MLFLOW_TRACKING_USERNAME": self.username,
            "MLFLOW_TRACKING_PASSWORD": self.password,
        }
        return {name: value for name, value in found.items() if value} | self.environment


def load_targets(settings: Settings) -> dict[str, Target]:
    """The targets by their names. Raises BadInput naming the table where one is not written as it must be."""
    tables = find_table(settings, read_secrets(settings), "copy")
    return {name: validate(Target, table, f"{settings.secrets}, [copy.{name}]") for name, table in tables.items()}


def find_target(settings: Settings, to: str) -> Target:
    """A target by its name or its address. Raises BadInput for every other one, and for this app's own store."""
    targets = load_targets(settings)
    wanted = to.rstrip("/")
    found = targets.get(to) or next((one for one in targets.values() if wanted in (one.uri, one.address)), None)
    if found is None:
        known = f" Those are: {', '.join(sorted(targets))}." if targets else ""
        raise BadInput(
            f"“{hide_password(to, to)}” is no place that versions may be copied to: an admin names each in "
            f"{settings.secrets}, as [copy.NAME] with its uri and credentials.{known}"
        )
    if found.uri == settings.tracking_uri.rstrip("/"):
        raise BadInput("That is this store. Choose “This store”, or name another one.")
    if found.uri.startswith("sqlite:///") and not Path(found.uri.removeprefix("sqlite:///")).is_file():
        raise BadInput(f"There is no MLflow store in {found.uri.removeprefix('sqlite:///')}. Start one there first.")
    return found
