"""phi3 models."""

from __future__ import annotations

import json

from phi3core import tags
from phi3core.settings import Settings
from tests.cli.commands import run
from tests.support import fakes


def test_models_prints_json_lists_that_parse(settings: Settings) -> None:
    assert json.loads(run("models", "--json").stdout) == []
    fakes.register(settings, "phi3", tags={tags.WRAPPER: "onnx", tags.SIZE: "7"}, metrics={"tokens_per_second": 3.0})
    fakes.register(settings, "phi3")
    run("promote", "phi3/1", "--stage", "production")
    (model,) = json.loads(run("models", "--json").stdout)
    assert (model["name"], model["newest"], model["production"], model["staging"]) == ("phi3", 2, 1, None)
    newer, older = json.loads(run("models", "phi3", "--json").stdout)
    assert (newer["ref"], older["ref"]) == ("phi3/2", "phi3/1")
    assert (older["stage"], older["aliases"], older["wrapper"]) == ("Production", ["production"], "onnx")
    assert older["size_bytes"] == 7
    assert older["metrics"] == {"tokens_per_second": 3.0}


def test_models_prints_tables_for_people(settings: Settings) -> None:
    assert "python -m phi3core demo" in run("models").output
    fakes.register(settings, "phi3", tags={tags.WRAPPER: "onnx"})
    assert run("models").output.split()[:5] == ["MODEL", "NEWEST", "PRODUCTION", "STAGING", "UPDATED"]
    head, row = run("models", "phi3").output.splitlines()
    assert head.startswith("VERSION")
    assert row.split()[:4] == ["phi3/1", "None", "–", "onnx"]
