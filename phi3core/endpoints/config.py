"""The remote endpoints that are written down in the secrets file, a table each.

[endpoints.NAME]
kind = "mlflow"
url = "https://example.com/invocations"
key_env = "EXAMPLE_KEY"
"""

from __future__ import annotations

import ipaddress
import os
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal, Self
from urllib.parse import SplitResult, urlsplit

from pydantic import Field, model_validator

from phi3core.access.secrets_file import read_secrets
from phi3core.errors import BadInput, NotFound
from phi3core.settings import Settings
from phi3core.validation import Table, validate

Kind = Literal["openai", "mlflow"]
Task = Literal["chat", "prompt"]
Dialect = Literal["mlflow", "azureml", "databricks"]


@dataclass(frozen=True)
class Endpoint:
    """A model that is served elsewhere.

    url: OpenAI's base URL, which ends in /v1 as a rule; or the full scoring URL of an MLflow model. model: its name
    at an OpenAI endpoint. For MLflow models: task, which signature it has; column, the one that takes the text of a
    ``prompt`` signature; dialect, the service it runs on. insecure: send the key without TLS.
    """

    name: str
    kind: Kind
    url: str
    model: str = ""
    task: Task = "chat"
    dialect: Dialect = "mlflow"
    column: str = "prompt"
    insecure: bool = False
    key: str = field(default="", repr=False)

    @property
    def ref(self) -> str:
        """What a turn records."""
        return f"endpoint:{self.name}"


class _EndpointTable(Table):
    """[endpoints.NAME] as it is written."""

    kind: Kind
    url: Annotated[str, Field(min_length=1)]
    model: str = ""
    task: Task = "chat"
    dialect: Dialect = "mlflow"
    column: str = "prompt"
    insecure: bool = False
    key: str = Field(default="", repr=False)
    key_env: str = ""

    def found_key(self) -> str:
        """The key, from the environment where ``key_env`` names a variable of it; "" where there is none."""
        return (self.key or os.environ.get(self.key_env, "")).strip()

    @model_validator(mode="after")
    def _key_can_be_sent(self) -> Self:
        if self.key and self.key_env:
            raise ValueError("give “key” or “key_env”, not both.")
        if self.key_env and not os.environ.get(self.key_env):
            raise ValueError(f"“key_env” names the environment variable {self.key_env}, which is not set.")
        key = self.found_key()
        if not key.isascii() or any(letter.isspace() or not letter.isprintable() for letter in key):
            raise ValueError("the key holds a letter that no key can hold. Copy it again.")
        return self

    @model_validator(mode="after")
    def _url_can_be_called(self) -> Self:
        try:
            url = urlsplit(self.url.rstrip("/"))
            host, _ = url.hostname, url.port
        except ValueError:
            url, host = urlsplit(""), None
        if url.scheme not in ("http", "https") or not host:
            raise ValueError("“url” must be a whole address, such as https://example.com/v1.")
        if url.username or url.password:
            raise ValueError("“url” holds a user or a password: give “key” in their place.")
        if self.kind == "openai":
            self._check_openai(url)
        elif not url.path.strip("/"):
            raise ValueError("“url” has no path: give the whole scoring URL, such as …/invocations or …/score.")
        if self.found_key() and url.scheme == "http" and not self.insecure and not _is_loopback(host):
            raise ValueError(
                f"the key would go to {host} without encryption, for everybody on the way to read. "
                "Use https, or add insecure = true if the network is your own."
            )
        return self

    def _check_openai(self, url: SplitResult) -> None:
        if url.path.endswith(("/completions", "/models")) or url.query:
            raise ValueError("“url” must be the base address, as a rule one that ends in /v1.")
        if not url.path.strip("/"):
            raise ValueError("“url” has no path: an address that speaks OpenAI's protocol ends in /v1.")
        if not self.model:
            raise ValueError("“model” is missing: the model's name there.")


def load_endpoints(settings: Settings) -> list[Endpoint]:
    """The endpoints of the secrets file, [] where there is none. Raises BadInput naming the table and the key."""
    file, tables = settings.secrets, read_secrets(settings).get("endpoints", {})
    if not isinstance(tables, dict):
        raise BadInput(f"{file}: “endpoints” must be tables, one for each endpoint: [endpoints.NAME].")
    return [_endpoint(name, table, f"{file}, [endpoints.{name}]") for name, table in tables.items()]


def find_endpoint(settings: Settings, name: str) -> Endpoint:
    """One endpoint, by its name or its ref. Raises NotFound, or BadInput as `load_endpoints` does."""
    wanted = name.removeprefix("endpoint:")
    for endpoint in load_endpoints(settings):
        if endpoint.name == wanted:
            return endpoint
    raise NotFound(f"There is no endpoint “{wanted}” (any more): {settings.secrets} has no [endpoints.{wanted}].")


def _endpoint(name: str, table: Any, where: str) -> Endpoint:
    if not isinstance(table, dict):
        raise BadInput(f"{where}: write a table with a kind and a url.")
    written = validate(_EndpointTable, table, where)
    given = written.model_dump(exclude={"key_env"})
    return Endpoint(name=name, **{**given, "url": written.url.rstrip("/"), "key": written.found_key()})


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
