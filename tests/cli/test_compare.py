"""phi3 compare and copy."""

from __future__ import annotations

import json

from phi3core import tags
from phi3core.registry import reader
from phi3core.settings import Settings
from tests.cli.commands import done, refused


def test_what_differs_between_two_versions_is_printed(phi3: Settings) -> None:
    told = done("compare", "phi3/1", "phi3/2")
    assert "tokens_per_second" in told
    assert "phi3/1 and phi3/1 do not differ" in done("compare", "phi3/1", "phi3/1")
    plain = json.loads(done("compare", "phi3/1", "phi3/2", "--json"))
    assert {"Metrics", "Files"} <= {one["section"] for one in plain["differences"]}
    assert not [one for one in plain["differences"] if one["same"]]


def test_a_version_is_copied_to_another_model_and_says_where_it_is_from(phi3: Settings) -> None:
    assert done("copy", "phi3/2", "phi3-edge", "--reason", "For the fair") == "phi3/2 is phi3-edge/1 now.\n"
    copied = reader.get_version(phi3, "phi3-edge/1")
    assert copied.tags[tags.ORIGIN_VERSION] == "phi3/2"
    assert "is in phi3 already" in refused("copy", "phi3/2", "phi3").splitlines()[-1]
