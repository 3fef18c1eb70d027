"""Endpoints as the secrets file has them, and what is told of one that makes no sense."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from phi3core.endpoints.config import Endpoint, find_endpoint, load_endpoints
from phi3core.errors import BadInput, NotFound
from phi3core.settings import Settings
from tests.endpoints.service import KEY


@pytest.fixture
def write(tmp_path: Path) -> Callable[[str], Settings]:
    """Settings whose secrets file holds this text."""

    def to(text: str) -> Settings:
        file = tmp_path / "secrets.toml"
        file.write_text(text)
        return Settings(home=tmp_path, tracking_uri="", cache=tmp_path, secrets=file)

    return to


def test_without_a_file_there_are_no_endpoints(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path, tracking_uri="", cache=tmp_path, secrets=tmp_path / "none.toml")

    assert load_endpoints(settings) == []


def test_endpoints_are_read_beside_other_secrets(
    write: Callable[[str], Settings], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TEST_ENDPOINT_KEY", KEY)
    settings = write("""
        password = "of something else"
        [endpoints.gpt]
        kind = "openai"
        url = "https://example.com/v1/"
        model = "small"
        key_env = "TEST_ENDPOINT_KEY"
        [endpoints."phi in azure"]
        kind = "mlflow"
        url = "https://phi.westeurope.inference.ml.azure.com/score"
        dialect = "azureml"
        task = "prompt"
        column = "question"
        key = "typed"
    """)

    gpt, azure = load_endpoints(settings)

    assert gpt == Endpoint("gpt", "openai", "https://example.com/v1", model="small", key=KEY)
    assert (azure.name, azure.ref, azure.task, azure.key) == (
        "phi in azure",
        "endpoint:phi in azure",
        "prompt",
        "typed",
    )
    assert find_endpoint(settings, "endpoint:gpt") == find_endpoint(settings, "gpt") == gpt
    with pytest.raises(NotFound, match="“other”"):
        find_endpoint(settings, "endpoint:other")


def test_an_endpoint_never_shows_its_key() -> None:
    assert KEY not in repr(Endpoint("a", "openai", "https://example.com/v1", key=KEY))


TABLE = '[endpoints.a]\nkind = "mlflow"\nurl = "https://example.com/invocations"\n'


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("[endpoints", "not written as TOML"),
        ("endpoints = 3", "must be tables"),
        ("[endpoints]\na = 3", r"\[endpoints.a\]: write a table"),
        ('[endpoints.a]\nurl = "https://example.com/x"', r"\[endpoints.a\]: “kind” is missing"),
        ('[endpoints.a]\nkind = "mlflow"', "“url” is missing"),
        (TABLE + 'colour = "red"', "“colour” means nothing here. Known are"),
        (TABLE + "task = 3", "“task” must be text in quotes"),
        (TABLE + 'insecure = "yes"', "“insecure” must be true or false"),
        (TABLE + 'task = "talk"', "“task” is “talk”; it must be chat or prompt"),
        (TABLE + 'dialect = "aws"', "must be mlflow or azureml or databricks"),
        (TABLE + f'key = "{KEY}"\nkey_env = "X"', "“key” or “key_env”, not both"),
        (TABLE + "key = 3", "must be text in quotes"),
        (TABLE + 'key_env = "NOT_SET_ANYWHERE"', "NOT_SET_ANYWHERE, which is not set"),
        (TABLE + f'key = "{KEY}\\nX-Other: header"', "a letter that no key can hold"),
        (TABLE + f'key = "{KEY}…"', "a letter that no key can hold"),
        (TABLE.replace("https://example.com/invocations", "example.com/invocations"), "must be a whole address"),
        (TABLE.replace("example.com", f"me:{KEY}@example.com"), "holds a user or a password"),
        (TABLE.replace("/invocations", ""), "“url” has no path"),
        (TABLE.replace("mlflow", "openai").replace("/invocations", ""), "ends in /v1"),
        (TABLE.replace("mlflow", "openai").replace("invocations", "v1/chat/completions"), "the base address"),
        (TABLE.replace("mlflow", "openai").replace("invocations", "v1"), "“model” is missing"),
        (TABLE.replace("https", "http") + f'key = "{KEY}"', "without encryption"),
    ],
)
def test_what_is_wrong_in_the_file_is_named_and_no_key_told(
    write: Callable[[str], Settings], text: str, sentence: str
) -> None:
    with pytest.raises(BadInput, match=sentence) as caught:
        load_endpoints(write(text))

    assert "secrets.toml" in str(caught.value)
    assert KEY not in str(caught.value)


@pytest.mark.parametrize(
    ("host", "more"), [("localhost", ""), ("127.0.0.2", ""), ("[::1]:8000", ""), ("10.0.0.7", "insecure = true\n")]
)
def test_a_key_goes_unencrypted_only_to_this_machine_or_where_it_is_said(
    write: Callable[[str], Settings], host: str, more: str
) -> None:
    text = TABLE.replace("https://example.com", f"http://{host}") + f'key = "{KEY}"\n' + more

    (endpoint,) = load_endpoints(write(text))

    assert endpoint.key == KEY
