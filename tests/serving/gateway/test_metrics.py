"""GET /metrics: the app's counts and those of all model servers, for whom /v1 answers."""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import openai
import pytest
from prometheus_client.parser import text_string_to_metric_families

from phi3core.errors import StoreDown, StoreError
from phi3core.registry.models import Version
from phi3core.serving.child.metrics import Metrics
from phi3core.serving.gateway import metrics
from phi3core.serving.pool import Pool
from phi3core.settings import Settings
from tests.support.gateway import chat
from tests.support.serving import HELLO, http

NAMES = re.compile(r"\b(?:phi3|process)_\w+")


def read(url: str) -> dict[tuple[str, str], float]:
    families = [*text_string_to_metric_families(http.get(f"{url}/metrics").text)]
    assert len({family.name for family in families}) == len(families), "a family stands twice"
    found = {}
    for sample in (sample for family in families for sample in family.samples):
        version = sample.labels.pop("version", "")
        found[sample.name, " ".join([version, *sample.labels.values()]).strip()] = sample.value
    return found


def test_the_counts_of_all_model_servers_stand_in_one_page(
    client: openai.OpenAI, url: str, named: Callable[..., Version]
) -> None:
    for name in ("one", "two"):
        named(name)
        client.chat.completions.create(model=f"{name}/1", messages=HELLO)

    found = read(url)

    for ref in ("one/1", "two/1"):
        assert found["phi3_answers_total", f"{ref} done"] == 1
        assert found["phi3_tokens_total", f"{ref} answer"] == 3
        assert found["phi3_model_server_up", ref] == 1
        assert ("phi3_model_server_memory_bytes", ref) in found
    assert found["phi3_requests_total", "/v1/chat/completions 200"] == 2
    assert found["phi3_unsent_events", ""] == 0
    assert found["process_resident_memory_bytes", ""] > 0


def test_requests_that_were_refused_are_counted_by_their_status_and_not_by_what_was_asked(url: str) -> None:
    chat(url, {"model": "nobody/1", "messages": HELLO})
    http.get(f"{url}/v1/wherever/{'x' * 40}")

    found = read(url)

    assert found["phi3_requests_total", "/v1/chat/completions 404"] == 1
    assert found["phi3_requests_total", "other 404"] == 1


def test_a_model_server_that_hangs_is_told_as_one_that_does_not_answer(
    client: openai.OpenAI, url: str, pool: Pool, named: Callable[..., Version], monkeypatch: pytest.MonkeyPatch
) -> None:
    named("demo")
    client.chat.completions.create(model="demo/1", messages=HELLO)
    (server,) = pool.running()
    monkeypatch.setattr(type(server), "url", "http://127.0.0.1:9")  # nobody listens there

    found = read(url)

    assert found["phi3_model_server_up", "demo/1"] == 0
    assert not [name for name, labels in found if name.startswith("phi3_answers")]


@pytest.mark.parametrize("said", ["phi3_answers_total{version=", "\xff", "# a comment\n" * 100_000])
def test_a_model_server_that_tells_nonsense_spoils_nobodys_counts(
    client: openai.OpenAI,
    url: str,
    named: Callable[..., Version],
    monkeypatch: pytest.MonkeyPatch,
    said: str,
) -> None:
    named("demo")
    client.chat.completions.create(model="demo/1", messages=HELLO)
    monkeypatch.setattr("phi3core.serving.child.metrics.Metrics.text", lambda _: said.encode("latin-1"))

    found = read(url)

    assert found["phi3_model_server_up", "demo/1"] == 0
    assert found["phi3_requests_total", "/v1/chat/completions 200"] == 1


def test_a_model_server_counts_for_its_own_version_and_what_it_should() -> None:
    told = """
# TYPE phi3_answers_total counter
phi3_answers_total{version="another/1",outcome="done"} 7
phi3_answers_total{version="demo/1",outcome="done",who="me"} 9
phi3_answers_total{version="demo/1",outcome="done"} 8
# TYPE phi3_tokens gauge
phi3_tokens 5
# TYPE phi3_requests_total counter
phi3_requests_total 1000
# TYPE phi3_model_server_up gauge
phi3_model_server_up{version="another/1"} 0
"""

    (family,) = metrics.read_counts(told, "demo/1")

    assert [(one.name, one.labels, one.value) for one in family.samples] == [
        ("phi3_answers_total", {"version": "demo/1", "outcome": "done"}, 7)
    ]


def test_all_that_a_model_server_counts_is_told() -> None:
    idle = SimpleNamespace(running=0, waiting=0)
    text = Metrics("demo/1", idle).text().decode()  # type: ignore[arg-type]

    names = {family.name.removesuffix("_created") for family in text_string_to_metric_families(text)}

    assert names == set(metrics._FAMILIES)


def test_where_v1_needs_a_key_the_counts_do(two: tuple[openai.OpenAI, openai.OpenAI], settings: Settings) -> None:
    base = str(two[0].base_url).removesuffix("/v1/")

    refused = http.get(f"{base}/metrics")
    read_with_key = http.get(f"{base}/metrics", headers={"authorization": f"Bearer {two[0].api_key}"})

    assert refused.status_code == 401
    assert "phi3_" not in refused.text
    assert read_with_key.status_code == 200
    assert http.get(f"{base}/metrics", headers={"host": "elsewhere.example"}).status_code == 403


def test_a_proxy_is_told_without_a_key_whether_requests_can_be_answered(
    two: tuple[openai.OpenAI, openai.OpenAI], monkeypatch: pytest.MonkeyPatch
) -> None:
    address = f"{str(two[0].base_url).removesuffix('/v1/')}/ready"

    def silent(error: type[StoreError], _: Settings) -> None:
        raise error("The store at postgresql://secret does not answer.")

    for error in (StoreDown, StoreError):
        monkeypatch.setattr("phi3core.serving.gateway.routes.ensure_reachable", functools.partial(silent, error))
        answer = http.get(address)
        assert (answer.status_code, answer.json()) == (503, {"status": "the store does not answer"})
    asked: list[Settings] = []
    monkeypatch.setattr("phi3core.serving.gateway.routes.ensure_reachable", asked.append)

    for _ in range(5):
        assert http.get(address, headers={"host": "10.0.0.7:8501"}).json() == {"status": "ready"}
    assert len(asked) == 1, "whoever asks often is no burden to the store"


def test_the_dashboard_asks_for_counts_that_there_are(
    client: openai.OpenAI, url: str, named: Callable[..., Version]
) -> None:
    named("demo")
    client.chat.completions.create(model="demo/1", messages=HELLO)
    panels = json.loads((Path(__file__).parents[3] / "docs" / "grafana.json").read_text())["panels"]
    asked = {name for panel in panels for target in panel["targets"] for name in NAMES.findall(target["expr"])}

    there = {name for name, _ in read(url)}

    assert len(asked) > 8
    assert asked <= there
