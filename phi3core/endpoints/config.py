"""The endpoints that somebody wrote down: tables of a TOML file.

[endpoints.NAME]
kind = "mlflow"
url = "https://example.com/invocations"
key_env = "EXAMPLE_KEY"
"""

from __future__ import annotations

import ipaddress
import os
from dataclasses import dataclass, field, fields
from typing import Any, Literal
from urllib.parse import urlsplit

from phi3core.access.secrets_file import read_secrets
from phi3core.errors import BadInput, NotFound
from phi3core.settings import Settings

_CHOICES = {
    "kind": ("openai", "mlflow"),
    "task": ("chat", "prompt"),
    "dialect": ("mlflow", "azureml", "databricks"),
}


@dataclass(frozen=True)
class Endpoint:
    """A model that is served elsewhere.

    url: OpenAI's base URL, which ends in /v1 as a rule; or the full scoring URL of an MLflow model. model: its name
    at an OpenAI endpoint. For MLflow models: task, which signature it has; column, the one that takes the text of a
    ``prompt`` signature; dialect, who serves it. insecure: send the key without TLS.
    """

    name: str
    kind: Literal["openai", "mlflow"]
    url: str
    model: str = ""
    task: Literal["chat", "prompt"] = "chat"
    dialect: Literal["mlflow", "azureml", "databricks"] = "mlflow"
    column: str = "prompt"
    insecure: bool = False
    key: str = field(default="", repr=False)

    @property
    def ref(self) -> str:
        """What a turn records."""
        return f"endpoint:{self.name}"


def load_endpoints(settings: Settings) -> list[Endpoint]:
    """The endpoints of the secrets file, [] where there is none. Raises BadInput naming the table and the key."""
    file, found = settings.secrets, read_secrets(settings)
    tables = found.get("endpoints", {})
    if not isinstance(tables, dict):
        raise BadInput(f"{file}: “endpoints” must be tables, one for each endpoint: [endpoints.NAME].")
    return [_endpoint(name, table, f"{file}, [endpoints.{name}]") for name, table in tables.items()]


def find_endpoint(settings: Settings, name: str) -> Endpoint:
    """One endpoint, by its name or its ref. Raises NotFound, or BadInput as `load` does."""
    wanted = name.removeprefix("endpoint:")
    for endpoint in load_endpoints(settings):
        if endpoint.name == wanted:
            return endpoint
    raise NotFound(f"There is no endpoint “{wanted}” (any more): {settings.secrets} has no [endpoints.{wanted}].")


def _endpoint(name: str, table: Any, where: str) -> Endpoint:
    if not isinstance(table, dict):
        raise BadInput(f"{where}: write a table with a kind and a url.")
    given = dict(table)
    given["key"] = _key(given, where)
    types = {"insecure": bool}
    known = {one.name for one in fields(Endpoint)} - {"name"}
    for key, value in given.items():
        if key not in known:
            raise BadInput(f"{where}: “{key}” means nothing here. Known are {', '.join(sorted(known | {'key_env'}))}.")
        if not isinstance(value, types.get(key, str)):
            raise BadInput(f"{where}: “{key}” must be {'true or false' if key in types else 'text in quotes'}.")
        if key in _CHOICES and value not in _CHOICES[key]:
            raise BadInput(f"{where}: “{key}” is “{value}”; it must be {' or '.join(_CHOICES[key])}.")
    for key in ("kind", "url"):
        if not given.get(key):
            raise BadInput(f"{where}: “{key}” is missing.")
    endpoint = Endpoint(name=name, **{**given, "url": given["url"].rstrip("/")})
    _check_url(endpoint, where)
    return endpoint


def _key(given: dict[str, Any], where: str) -> str:
    """Takes `key` and `key_env` out of the table. Never tells what the key is."""
    key, variable = given.pop("key", ""), given.pop("key_env", "")
    if key and variable:
        raise BadInput(f"{where}: give “key” or “key_env”, not both.")
    if not isinstance(key, str) or not isinstance(variable, str):
        raise BadInput(f"{where}: “key” and “key_env” must be text in quotes.")
    if variable and not (key := os.environ.get(variable, "")):
        raise BadInput(f"{where}: “key_env” names the environment variable {variable}, which is not set.")
    key = key.strip()
    if not key.isascii() or any(letter.isspace() or not letter.isprintable() for letter in key):
        raise BadInput(f"{where}: the key holds a letter that no key can hold. Copy it again.")
    return key


def _check_url(endpoint: Endpoint, where: str) -> None:
    """Raise BadInput for an address that can't be right, or that a key must not be sent to."""
    try:
        url = urlsplit(endpoint.url)
        host, _ = url.hostname, url.port
    except ValueError:
        url, host = urlsplit(""), None
    if url.scheme not in ("http", "https") or not host:
        raise BadInput(f"{where}: “url” must be a whole address, such as https://example.com/v1.")
    if url.username or url.password:
        raise BadInput(f"{where}: “url” holds a user or a password: give “key” in their place.")
    if endpoint.kind == "openai":
        if url.path.endswith(("/completions", "/models")) or url.query:
            raise BadInput(f"{where}: “url” must be the base address, as a rule one that ends in /v1.")
        if not url.path.strip("/"):
            raise BadInput(f"{where}: “url” has no path: an address that speaks OpenAI's protocol ends in /v1.")
        if not endpoint.model:
            raise BadInput(f"{where}: “model” is missing: the model's name there.")
    elif not url.path.strip("/"):
        raise BadInput(f"{where}: “url” has no path: give the whole scoring URL, such as …/invocations or …/score.")
    if endpoint.key and url.scheme == "http" and not endpoint.insecure and not _is_loopback(host):
        raise BadInput(
            f"{where}: the key would go to {host} without encryption, for everybody on the way to read. "
            "Use https, or add insecure = true if the network is your own."
        )


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
