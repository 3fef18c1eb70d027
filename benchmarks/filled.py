"""A registry of 1,000 models with 10 versions each, their 10,000 runs, a record of 10,000 promotions, and requests.

Written into MLflow's own tables at once (through its API it would take half an hour), and kept to copy from. Every
value is computed from a number, so that two fillings are the same.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from pathlib import Path
from typing import Any

from phi3core import tags
from phi3core.promotion.record import seal as seals
from phi3core.promotion.record.model import title
from phi3core.settings import Settings, load_settings
from phi3core.store.client import experiment_id, mlflow_client

MODELS, VERSIONS, PROMOTIONS = 1000, 10, 10_000
ENDED, OPEN = 2000, 50
"""Requests: of other models than the promotions, each approved once; the ended ones were promoted or withdrawn."""
BUSY = "model-0500-river"
"""The model that all promotions are of."""
WORDS = ("river", "stone", "cloud", "meadow", "harbour", "lantern", "orchard", "summit", "valley", "shore")
_PEOPLE = ("ada", "bob", "eve", "grace", "linus")
_DAY = 86_400_000
_START = 1_760_000_000_000
_FORM = 4  # raise it when what is written changes


def home(cache: Path) -> Settings:
    """The settings of a home with such a store, filled once and kept in the cache. A copy: spoil it at will."""
    kept = cache / f"registry-{MODELS}x{VERSIONS}-{_FORM}"
    if not kept.exists():
        part = kept.with_name(f"{kept.name}.part")
        shutil.rmtree(part, ignore_errors=True)
        (part / "home").mkdir(parents=True)
        _fill(_enter(part / "home"))
        part.rename(kept)
    copy = kept.with_name(f"{kept.name}.copy")
    shutil.rmtree(copy, ignore_errors=True)
    copy.mkdir()
    for name in ("mlflow.db", "mlflow.db-wal"):
        if (kept / "home" / name).exists():
            shutil.copy(kept / "home" / name, copy / name)
    return _enter(copy)


def name_of(number: int) -> str:
    return f"model-{number:04}-{WORDS[(number * 7 + number // 10) % 10]}"


def _enter(folder: Path) -> Settings:
    os.environ["PHI3_HOME"] = str(folder)
    os.environ.pop("MLFLOW_TRACKING_URI", None)
    return load_settings()


def _fill(config: Settings) -> None:
    import sqlalchemy
    from mlflow.store.model_registry.dbmodels import models as registry
    from mlflow.store.tracking.dbmodels import models as tracking

    builds = experiment_id(config, tags.BUILDS)
    promotions = experiment_id(config, tags.PROMOTIONS)
    assert name_of(500) == BUSY, name_of(500)
    rows: dict[Any, list[dict[str, Any]]] = {
        table: []
        for table in (
            registry.SqlRegisteredModel,
            registry.SqlRegisteredModelTag,
            registry.SqlRegisteredModelAlias,
            registry.SqlModelVersion,
            registry.SqlModelVersionTag,
            tracking.SqlRun,
            tracking.SqlTag,
            tracking.SqlParam,
            tracking.SqlMetric,
            tracking.SqlLatestMetric,
        )
    }

    def run(run_id: str, name: str, user: str, home: str, at: int, tag_values: dict[str, str]) -> None:
        rows[tracking.SqlRun].append(
            {
                "run_uuid": run_id,
                "name": name,
                "source_type": "LOCAL",
                "user_id": user,
                "status": "FINISHED",
                "start_time": at,
                "end_time": at + 60_000,
                "lifecycle_stage": "active",
                "artifact_uri": f"s3://nowhere/{run_id}",
                "experiment_id": int(home),
            }
        )
        tag_values = {"mlflow.user": user, "mlflow.runName": name, **tag_values}
        rows[tracking.SqlTag] += [{"key": key, "value": value, "run_uuid": run_id} for key, value in tag_values.items()]

    for number in range(MODELS):
        name = name_of(number)
        rows[registry.SqlRegisteredModel].append(
            {
                "name": name,
                "creation_time": _START + number * 1000,
                "last_updated_time": _START + number * 1000 + VERSIONS * _DAY,
                "description": f"Answers questions about the {WORDS[number % 10]}.",
            }
        )
        aliases = {"production": 8, "staging": 9, "champion": 8 if number % 3 else 7}
        rows[registry.SqlRegisteredModelAlias] += [
            {"name": name, "alias": alias, "version": version} for alias, version in aliases.items()
        ]
        for version in range(1, VERSIONS + 1):
            at, mark = _START + number * 1000 + version * _DAY, _hex(f"{name}/{version}")
            user = _PEOPLE[(number + version) % len(_PEOPLE)]
            tag_values = {
                tags.WRAPPER: tags.WRAPPERS[version % 2],
                tags.SOURCE: f"hub:models/{WORDS[number % 10]}-{version}",
                tags.PRECISION: ("int4", "fp16", "fp32")[version % 3],
                tags.LICENCE: "mit",
                tags.DIGEST: hashlib.sha256(mark.encode()).hexdigest(),
                tags.SIZE: str(10_000_000 + number * 1000 + version),
                tags.USER: user,
                "team": WORDS[(number + version) % 10],
            }
            run(mark, f"build-{number}-{version}", user, builds, at, tag_values)
            metrics = {
                tags.TOKENS_PER_SECOND: 20.0 + number % 50 + version,
                tags.FIRST_TOKEN_MS: 80.0 - version,
                tags.PEAK_MEMORY: 1e8 + number,
                "win_rate": (number * 31 + version * 7) % 100 / 100,
            }
            for key, value in metrics.items():
                metric = {"key": key, "value": value, "timestamp": at, "step": 0, "is_nan": False, "run_uuid": mark}
                rows[tracking.SqlMetric].append(metric)
                rows[tracking.SqlLatestMetric].append(metric)
            rows[tracking.SqlParam] += [
                {"key": f"build.{key}", "value": "x", "run_uuid": mark} for key in ("wrapper", "source", "precision")
            ]
            rows[registry.SqlModelVersion].append(
                {
                    "name": name,
                    "version": version,
                    "creation_time": at,
                    "last_updated_time": at,
                    "description": f"Trained on {WORDS[(number * 3 + version) % 10]} and {WORDS[version % 10]}.",
                    "current_stage": {8: "Production", 9: "Staging", 10: "None"}.get(version, "Archived"),
                    "source": f"models:/m-{mark}",
                    "run_id": mark,
                    "status": "READY",
                }
            )
            rows[registry.SqlModelVersionTag] += [
                {"name": name, "version": version, "key": key, "value": value} for key, value in tag_values.items()
            ]
    heads = {BUSY: _record(config, promotions, run)} | _requests(config, promotions, run)
    rows[registry.SqlRegisteredModelTag] += [
        {"name": name, "key": tags.RECORD, "value": seal} for name, seal in heads.items()
    ]
    engine = sqlalchemy.create_engine(config.tracking_uri)
    with engine.begin() as connection:
        for table, values in rows.items():
            connection.execute(table.__table__.insert(), values)
    with engine.connect() as connection:
        connection.execute(sqlalchemy.text("ANALYZE"))
    engine.dispose()
    assert len(mlflow_client(config).search_model_versions(max_results=5)) == 5


def _record(config: Settings, home: str, run: Any) -> str:
    """Ten thousand promotions of one model: the last seal."""
    previous, before = "", 0
    for number in range(PROMOTIONS):
        version = number * 7 % VERSIONS + 1
        tag_values = {
            tags.ACTION: "promote",
            tags.MODEL_NAME: BUSY,
            tags.VERSION: str(version),
            tags.FROM: "Staging",
            tags.TO: "Production",
            tags.REPLACED: f"{BUSY}/{before}" if before else "",
            tags.REPLACED_TO: "Archived" if before else "",
            tags.REASON: f"It answers {number} questions of {WORDS[number % 10]} better",
            tags.USER: _PEOPLE[number % len(_PEOPLE)],
            tags.ROLE: "releaser",
            tags.DIGEST: hashlib.sha256(str(number).encode()).hexdigest(),
            tags.PREVIOUS: previous,
        }
        previous = _sealed(config, home, run, _hex(f"record {number}"), _START + number * 60_000, tag_values)
        before = version
    return previous


def _requests(config: Settings, home: str, run: Any) -> dict[str, str]:
    """Requests with an approval each; after those that have ended a promotion or a withdrawal. The last seals."""
    heads: dict[str, str] = {}
    for number in range(ENDED + OPEN):
        name, at = name_of(number % 499), _START + PROMOTIONS * 60_000 + number * 120_000
        about = {
            tags.MODEL_NAME: name,
            tags.VERSION: str(number % VERSIONS + 1),
            tags.TO: "Staging",
            tags.DIGEST: hashlib.sha256(name.encode()).hexdigest(),
        }
        steps = ["request", "approve"]
        if number < ENDED:
            steps.append("withdraw" if number % 4 == 0 else "promote")
        for step, action in enumerate(steps):
            tag_values = {
                **about,
                tags.ACTION: action,
                tags.REASON: f"It knows {number} more words of {WORDS[number % 10]}",
                tags.USER: _PEOPLE[(number + step) % len(_PEOPLE)],
                tags.ROLE: "reviewer",
                tags.REQUEST: _hex(f"request {number}") if step else "",
                tags.PREVIOUS: heads.get(name, ""),
            }
            heads[name] = _sealed(config, home, run, _hex(f"{action} {number}"), at + step * 30_000, tag_values)
    return heads


def _sealed(config: Settings, home: str, run: Any, run_id: str, at: int, tag_values: dict[str, str]) -> str:
    """A record with its seal, as the promotion's own."""
    tag_values = dict.fromkeys(seals.INTENT, "") | {tags.HOST: "bench/0"} | tag_values
    seal = tag_values[tags.SEAL] = seals.of_intent(tag_values, at, config.record_key)
    tag_values |= {tags.STATUS: "done", tags.OUTCOME: "Done.", tags.ENDED: str(at + 10_000)}
    tag_values[tags.CLOSING] = seals.of_result(tag_values, config.record_key)
    says = title(
        f"{tag_values[tags.MODEL_NAME]}/{tag_values[tags.VERSION]}",
        tag_values[tags.ACTION],
        tag_values[tags.FROM],
        tag_values[tags.TO],
    )
    tag_values[tags.NOTE] = f"{says} · by {tag_values[tags.USER]} · {tag_values[tags.REASON]}"
    run(run_id, says, tag_values[tags.USER], home, at, tag_values)
    return seal


def _hex(text: str) -> str:
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()
