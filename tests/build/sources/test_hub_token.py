"""A hub of one's own gets no token, unless the secrets file has one for it."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from phi3core.build.sources.hub_token import hub_token
from phi3core.settings import Settings
from tests.support.listener import listening

ASK = """
from phi3core.build.sources import hub
from phi3core.build.sources.source import parse_source
try:
    hub._ask(parse_source("hf:acme/tiny"), lambda share, text: None)
except Exception as error:
    print(type(error).__name__)
"""


@pytest.mark.parametrize(
    ("endpoint", "written", "token"),
    [
        ("", "", None),
        ("https://huggingface.co/", "", None),
        ("https://hub.example", "", False),
        ("https://hub.example/", '[hub]\nendpoint = "https://hub.example"\ntoken = "theirs"', "theirs"),
        ("https://hub.example", '[hub]\nendpoint = "https://hub.example"\ntoken_env = "HUB"', "of HUB"),
        ("https://other.example", '[hub]\nendpoint = "https://hub.example"\ntoken = "theirs"', False),
    ],
)
def test_each_hub_has_a_token_of_its_own(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, endpoint: str, written: str, token: str | bool | None
) -> None:
    monkeypatch.setenv("HF_ENDPOINT", endpoint)
    monkeypatch.setenv("HUB", "of HUB")
    settings.secrets.write_text(written)
    assert hub_token() == token


@pytest.mark.parametrize("own", ["", "made-for-this-hub"])
def test_what_is_sent_to_another_hub_holds_no_token_of_hugging_face(settings: Settings, own: str) -> None:
    with listening() as (address, heard):
        if own:
            settings.secrets.write_text(f'[hub]\nendpoint = "{address}"\ntoken = "{own}"\n')
        environment = os.environ | {"HF_ENDPOINT": address, "HF_TOKEN": "hf_secret", "HF_HOME": str(settings.home)}
        done = subprocess.run([sys.executable, "-c", ASK], env=environment, capture_output=True, text=True, timeout=60)
    assert done.stdout, done.stderr
    sent = "\n".join(heard).lower()
    assert "get /api/models/acme/tiny" in sent
    assert "hf_secret" not in sent
    assert (f"authorization: bearer {own}" in sent) == bool(own)
