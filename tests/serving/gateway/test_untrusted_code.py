"""What /v1 says of a version that is somebody's code, which no admin has trusted."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import openai
import pytest

from phi3core.serving.pool import Pool
from phi3core.settings import Settings
from tests.support.fakes import register
from tests.support.serving import HELLO

CODE = "flavors: {python_function: {loader_module: mlflow.pyfunc.loaders.code_model, model_code_path: agent.py}}\n"
WAYS: dict[str, Callable[[openai.OpenAI], Any]] = {
    "chat": lambda client: client.chat.completions.create(model="agent/1", messages=HELLO, stream=True),
    "completions": lambda client: client.completions.create(model="agent/1", prompt="Where?"),
    "responses": lambda client: client.responses.create(model="agent/1", input="Where?"),
}


def test_code_that_nobody_trusted_is_refused_by_every_way_and_not_opened(
    client: openai.OpenAI, settings: Settings, pool: Pool, tmp_path: Path
) -> None:
    folder = tmp_path / "agent"
    folder.mkdir()
    (folder / "MLmodel").write_text(CODE)
    (folder / "agent.py").write_text("raise SystemExit('it ran')")
    register(settings, "agent", folder.as_uri())
    for way, ask in WAYS.items():
        with pytest.raises(openai.PermissionDeniedError, match="“phi3 trust agent/1”") as caught:
            ask(client)
        assert (caught.value.status_code, caught.value.code) == (403, "code_not_trusted"), way
        assert not [server for server in pool.servers() if server.status().open], way
