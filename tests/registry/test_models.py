"""References, and models and versions as plain data."""

from __future__ import annotations

import json
from datetime import datetime

import pytest

from phi3core import tags
from phi3core.errors import BadInput
from phi3core.registry import reader
from phi3core.registry.models import to_dict
from phi3core.registry.reference import Reference, parse_reference
from phi3core.settings import Settings
from phi3core.store.client import mlflow_client
from tests.support.fakes import register


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("phi3/3", Reference("phi3", number=3)),
        ("phi3@champion", Reference("phi3", alias="champion")),
        ("phi3/Production", Reference("phi3", stage="Production")),
        ("phi3/staging", Reference("phi3", stage="Staging")),
        ("phi3@Production", Reference("phi3", alias="production")),
        ("a@b/3", Reference("a@b", number=3)),
        ("a@b@champion", Reference("a@b", alias="champion")),
        ("models:/phi3/3", Reference("phi3", number=3)),
        (" models:/phi3@champion", Reference("phi3", alias="champion")),
        ("models:/phi3/Production", Reference("phi3", stage="Production")),
        (" my model / 3 ", Reference("my model", number=3)),
    ],
)
def test_a_reference_is_split_at_the_last_separator(text: str, expected: Reference) -> None:
    assert parse_reference(text) == expected


@pytest.mark.parametrize(
    "text",
    ["", "phi3", "phi3/", "/3", "@champion", "phi3@", "phi3/latest", "phi3/²", "phi3/-1", "models:/", "models:/3"],
)
def test_a_reference_that_names_no_version_is_refused(text: str) -> None:
    with pytest.raises(BadInput, match="Write"):
        parse_reference(text)


@pytest.mark.parametrize("stage", ["None", "Archived", "archived"])
def test_a_stage_that_many_versions_can_have_names_none(stage: str) -> None:
    with pytest.raises(BadInput, match="Many versions can be"):
        parse_reference(f"phi3/{stage}")


def test_models_and_versions_are_plain_json(settings: Settings) -> None:
    register(settings, tags={tags.WRAPPER: "onnx", tags.SIZE: "5"}, metrics={"speed": 1.5})
    mlflow_client(settings).set_registered_model_alias("phi3", "production", "1")

    model = json.loads(json.dumps(to_dict(reader.list_models(settings)[0])))
    version = json.loads(json.dumps(to_dict(reader.list_versions(settings, "phi3")[0])))

    assert (model["name"], model["newest"], model["production"], model["staging"]) == ("phi3", 1, 1, None)
    assert (version["ref"], version["wrapper"], version["size_bytes"]) == ("phi3/1", "onnx", 5)
    assert version["aliases"] == ["production"]
    assert datetime.fromisoformat(version["created"]).tzinfo is not None


def test_a_size_tag_of_another_program_is_no_size(settings: Settings) -> None:
    register(settings, tags={tags.SIZE: "large"})

    assert reader.get_version(settings, "phi3/1").size is None
