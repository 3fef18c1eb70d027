"""Records as this app writes them, and as others can make them up."""

from __future__ import annotations

import time
from typing import Any

from phi3core import tags
from phi3core.access.roles import Person
from phi3core.promotion.record import seal, writer
from phi3core.promotion.record.model import Record
from phi3core.settings import Settings
from phi3core.store.client import experiment_id, mlflow_client

ADA, BOB = Person("ada@example.org", "releaser"), Person("bob@example.org", "admin")


def add(settings: Settings, **given: Any) -> Record:
    return writer.append(settings, ADA, **({"model": "phi3", "version": 1, "action": "request"} | given))


def unsealed(settings: Settings, at: int | None = None, **tag_values: str) -> str:
    """A record made with MLflow's own API; at: milliseconds since 1970. Its id."""
    known = {tags.MODEL_NAME: "phi3", tags.USER: "mallory", **tag_values}
    run = mlflow_client(settings).create_run(experiment_id(settings, tags.PROMOTIONS), at, known)
    mlflow_client(settings).set_terminated(run.info.run_id)
    return str(run.info.run_id)


def plain(settings: Settings, at: int | None = None, **tag_values: str) -> str:
    """The same with seals that were computed without the key."""
    at = at or int(time.time() * 1000)
    known = {tags.MODEL_NAME: "phi3", tags.USER: "mallory", **tag_values}
    known[tags.SEAL] = seal.of_intent(known, at, "")
    known |= {tags.STATUS: "done", tags.OUTCOME: "Done.", tags.ENDED: str(at)}
    known[tags.CLOSING] = seal.of_result(known, "")
    return unsealed(settings, at, **known)
