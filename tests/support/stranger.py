"""A stranger who has written whatever can be written into a store."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path

from phi3core import tags
from phi3core.access.roles import Person
from phi3core.build.spec import BuildSpec
from phi3core.chat import history, prompts
from phi3core.promotion.policy import policy, requests
from phi3core.promotion.policy.policy import Policy
from phi3core.promotion.promote import promote
from phi3core.settings import Settings
from phi3core.store.client import experiment_id, mlflow_client
from phi3core.traces.turn import Origin, Turn

MARK = "evilhost"
BAIT = (
    f"![x](http://{MARK}/i.png) [Approved](http://{MARK}/a) :green-badge[{MARK}] :material/skull: **bold{MARK}** "
    f"<img src='http://{MARK}/i' onerror='window.obeyed=1'> www.{MARK} http://{MARK}/b ![y](//{MARK}/j) $x{MARK}$ ` ]"
)
NAME = f"phi3 ![x](www.{MARK}) **bold{MARK}** <a href='www.{MARK}'>"
"""The same as far as MLflow takes it for a model's name."""
WORDS = f"![x](http://{MARK}/i.png) :green-badge[{MARK}] :material/skull: <img src='http://{MARK}/i'>"
"""For what is meant as Markdown: a link in it is a link."""

STRANGER = Person(BAIT, "admin")
ONE, TWO = f"{1:032x}", f"{2:032x}"
OTHER = "other"


def write_everything(settings: Settings, folder: Path) -> None:
    """Fill an empty store. folder: for the files of the versions."""
    _versions(settings, folder)
    _promotions(settings)
    _builds(settings)
    _conversations(settings)
    prompts.save(settings, "bait", BAIT + " {{word}}", BAIT, STRANGER)


def _versions(settings: Settings, folder: Path) -> None:
    from mlflow.models import Model, ModelSignature
    from mlflow.types import ColSpec, DataType, ParamSchema, ParamSpec, Schema

    signature = ModelSignature(
        Schema([ColSpec(DataType.string, BAIT)]),
        Schema([ColSpec(DataType.string, BAIT)]),
        ParamSchema([ParamSpec(BAIT, DataType.string, BAIT)]),
    )
    store = mlflow_client(settings)
    written = dict.fromkeys((tags.WRAPPER, tags.PRECISION, tags.LICENCE, tags.SOURCE, tags.REVISION, tags.USER), BAIT)
    written |= {tags.ORIGIN_VERSION: f"{NAME}/1", tags.ORIGIN_STORE: BAIT, tags.ORIGIN_USER: BAIT, "own": BAIT}
    for name in (NAME, OTHER):
        store.create_registered_model(name)
        for number in ("1", "2"):
            files = folder / f"{name[:4]}-{number}"
            files.mkdir()
            metadata = {"phi3": {"wrapper": BAIT, "options": {"stop": BAIT, "max_tokens": 50}}}
            made = Model(flavors={"python_function": {}}, signature=signature, metadata=metadata)
            made.save(str(files / "MLmodel"))
            (files / "requirements.txt").write_text(BAIT)
            run = store.create_run("0", tags={tags.USER: BAIT}).info.run_id
            store.log_metric(run, tags.TOKENS_PER_SECOND, 100.0 + int(number))
            store.log_metric(run, f":material/skull: www.{MARK}", 1.0)
            store.log_param(run, "source", BAIT)
            version = store.create_model_version(name, files.as_uri(), run, tags=written)
            store.update_model_version(name, version.version, WORDS)
        store.set_registered_model_alias(name, "champion", "1")


def _promotions(settings: Settings) -> None:
    promote(settings, f"{OTHER}/1", "Production", BAIT, STRANGER)
    promote(settings, f"{NAME}/1", "Production", BAIT, STRANGER)
    wanted = Policy(approvals=1, tags=(BAIT.replace("=", "").replace("'", ""),), metrics=())
    policy.write(settings, OTHER, "Production", wanted, STRANGER, BAIT)
    asked = requests.ask(settings, f"{OTHER}/2", "Production", BAIT, STRANGER)
    requests.decide(settings, asked.id, "approve", BAIT, replace(STRANGER, name=f"{BAIT} 2"))
    fields = (
        tags.ACTION, tags.FROM, tags.TO, tags.USER, tags.ROLE, tags.REASON, tags.REPLACED, tags.REPLACED_TO, tags.HOST,
        tags.DIGEST, tags.OVERRIDE, tags.REQUEST, tags.OUTCOME, tags.PREVIOUS, tags.SEAL,
    )  # fmt: skip
    store = mlflow_client(settings)
    made_up = dict.fromkeys(fields, BAIT) | {tags.MODEL_NAME: OTHER, tags.VERSION: "2"}
    run = store.create_run(experiment_id(settings, tags.PROMOTIONS), tags=made_up, run_name="made up")
    store.set_terminated(run.info.run_id)


def _builds(settings: Settings) -> None:
    store, spec = mlflow_client(settings), BuildSpec("onnx", name=OTHER)
    for status, said in (
        ("FAILED", {tags.REASON: BAIT}),
        ("FINISHED", {tags.VERSION: "1"}),
        ("KILLED", {tags.REASON: BAIT}),
    ):
        known = {tags.MODEL_NAME: BAIT, tags.WRAPPER: BAIT, tags.USER: BAIT} | said
        run = store.create_run(experiment_id(settings, tags.BUILDS), tags=known).info.run_id
        for name, value in (asdict(spec) | {"source": BAIT, "name": NAME}).items():
            store.log_param(run, f"build.{name}", str(value))
        store.set_terminated(run, status)


def _conversations(settings: Settings) -> None:
    ended = Turn(
        BAIT, BAIT, BAIT, {"stop": [BAIT]}, user=BAIT, asked_ref=BAIT, answer=WORDS, state="done", note=BAIT,
        error=BAIT, prompt=BAIT, thumb=True, comment=BAIT, rated_by=BAIT, id=ONE,
    )  # fmt: skip
    again = replace(ended, id=TWO, answer="another", ref=f"{OTHER}/1", copy_of=ONE, thumb=None)
    history.save(settings, ONE, ended, [{"role": "user", "content": BAIT}], None, BAIT)
    history.save(settings, TWO, again, [{"role": "user", "content": BAIT}], Origin("replay", ONE, ONE), BAIT)
    rated = replace(ended, id=f"{3:032x}", ref=f"{OTHER}/2")
    history.save(settings, f"{3:032x}", rated, [{"role": "user", "content": BAIT}], None, BAIT)
    assert history.flush(settings, 60), history.sending_error(settings)
