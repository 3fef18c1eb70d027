"""Endpoints in comparisons and evaluations, against a server that really runs: the model server's own app on a port."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from phi3core.chat.target import find_target
from phi3core.errors import NotFound
from phi3core.evaluation import comparison, prompt_sets
from phi3core.evaluation.comparison import Candidate
from phi3core.registry.models import Version
from phi3core.settings import Settings
from tests.app.servers import FakePool, FakeServer
from tests.evaluation.evaluating import Engines, run
from tests.evaluation.sets import CAPITALS, item
from tests.support import fakes


@pytest.fixture
def far(settings: Settings, versions: list[Version]) -> Iterator[FakeServer]:
    """A server elsewhere, and endpoint:far, which is it."""
    engine = fakes.FakeEngine(("Paris ", "and ", "Madrid."))
    engine.context_length = 4000
    server = FakeServer(versions[3], engine)
    settings.secrets.write_text(
        f'[endpoints.far]\nkind = "openai"\nurl = "{server.url}/v1"\nmodel = "phi3/4"\nkey = "{server.key}"\n'
    )
    yield server
    server.close()


def test_an_endpoint_is_evaluated_beside_a_version(
    settings: Settings, pool: FakePool, far: FakeServer, engines: Engines
) -> None:
    prompt_sets.save_set(settings, "capitals", CAPITALS)

    found = run(settings, pool, "phi3/1", "endpoint:far")

    assert found.run.complete
    assert found.of("endpoint:far")["france"].text == "Paris and Madrid."
    change = found.compare("endpoint:far", "phi3/1")["contains"]
    assert (change.better, change.worse) == (1, 0)
    assert found.cost("endpoint:far")[1] > 0
    assert not engines["phi3/4"].asked, "the endpoint is no version of this store"


def test_an_endpoint_is_compared_with_a_version(
    settings: Settings, pool: FakePool, far: FakeServer, versions: list[Version]
) -> None:
    asked = [Candidate(find_target(settings, ref), ref) for ref in ("phi3/1", "endpoint:far")]

    made = comparison.begin(settings, pool, asked, "Capital of France?", user="ada")  # type: ignore[arg-type]
    fakes.until(lambda: not made.running)

    (round,) = made.rounds
    assert [(entry.turn.ref, entry.turn.answer) for entry in round.entries] == [
        ("phi3/1", "Madrid it is. "),
        ("endpoint:far", "Paris and Madrid."),
    ]


def test_an_endpoint_judges(settings: Settings, pool: FakePool, far: FakeServer) -> None:
    far.engine.words = (json.dumps({"rationale": "It names one.", "result": "yes"}),)
    prompt_sets.save_set(settings, "capitals", [item("spain", criteria="Names a town.")])

    found = run(settings, pool, "phi3/1", judge="endpoint:far")

    assert found.of("phi3/1")["spain"].words == {"criteria": "It names one."}
    assert found.means("phi3/1")["criteria"].value == 1


def test_an_endpoint_that_is_not_there_any_more_is_told(
    settings: Settings, pool: FakePool, far: FakeServer, versions: list[Version]
) -> None:
    prompt_sets.save_set(settings, "capitals", CAPITALS)
    run(settings, pool, "phi3/1", "endpoint:far")
    settings.secrets.write_text("")

    with pytest.raises(NotFound, match="no endpoint “far”"):
        run(settings, pool, "phi3/1", "endpoint:far")
