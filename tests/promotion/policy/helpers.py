"""Requests and checklists, and records that others made up."""

from __future__ import annotations

import time

from phi3core import tags
from phi3core.access.roles import Person
from phi3core.promotion.policy import policy
from phi3core.promotion.policy.checks import checklist
from phi3core.promotion.policy.policy import Check, Policy
from phi3core.promotion.record import seal
from phi3core.registry import reader
from phi3core.registry.models import Version
from phi3core.settings import Settings
from phi3core.store.client import experiment_id, mlflow_client
from tests.support.judging import BOB, ROOT

ROB = Person("rob@example.org", "releaser")


WEIGHTS = "weights/model.onnx"


def made_up(settings: Settings, key: str | None, at: int | None = None, **tag_values: str) -> str:
    """A record made with MLflow's own API. key: what it is sealed with, None for not at all."""
    at = at or int(time.time() * 1000)
    known = {tags.MODEL_NAME: "phi3", tags.VERSION: "1", tags.TO: "Production", tags.USER: BOB.name, **tag_values}
    if key is not None:
        known[tags.SEAL] = seal.of_intent(known, at, key)
        known |= {tags.STATUS: "done", tags.OUTCOME: "Done.", tags.ENDED: str(at)}
        known[tags.CLOSING] = seal.of_result(known, key)
    run = mlflow_client(settings).create_run(experiment_id(settings, tags.PROMOTIONS), at, known)
    mlflow_client(settings).set_terminated(run.info.run_id)
    return str(run.info.run_id)


def says(checks: list[Check], name: str) -> tuple[bool, str]:
    (found,) = (check for check in checks if check.name == name)
    return found.met, found.says


def wants(settings: Settings, version: Version, stage: str = "Production", **needs: object) -> list[Check]:
    """The checklist under a policy of one's own."""
    policy.write(settings, version.name, stage, Policy(**needs), ROOT)  # type: ignore[arg-type]
    return checklist(settings, reader.get_version(settings, version.ref), stage)
