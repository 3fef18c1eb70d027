"""What tests of policies, requests and reviews have in common: people, versions with small files, judged answers."""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import Callable
from pathlib import Path

from phi3core import tags
from phi3core.access.roles import Person
from phi3core.chat import history
from phi3core.chat.replay import AnswerPair
from phi3core.errors import Conflict
from phi3core.registry import reader
from phi3core.registry.models import Version
from phi3core.settings import Settings
from phi3core.store.client import experiment_id, mlflow_client, translate_errors
from phi3core.traces.turn import Turn
from phi3core.traces.votes import Better
from tests.support.fakes import register

ADA, BOB, EVE = (Person(f"{name}@example.org", "reviewer") for name in ("ada", "bob", "eve"))
ROOT = Person("root@example.org", "admin")


def logged(folder: Path, question: str | None = "prompt", default: float = 0.4) -> Path:
    """The files of a small model, its signature with one question and one option."""
    from mlflow.models import Model, ModelSignature
    from mlflow.types import ColSpec, DataType, ParamSchema, ParamSpec, Schema

    files = folder / f"logged-{uuid.uuid4().hex}"
    (files / "weights").mkdir(parents=True)
    (files / "weights" / "model.onnx").write_bytes(b"weights")
    (files / "requirements.txt").write_text("mlflow==3.17.2\n# a comment\n\nnumpy==2.4.6\n")
    (files / "python_env.yaml").write_text("python: 3.11.7\nbuild_dependencies:\n- pip\n")
    signature = question and ModelSignature(
        Schema([ColSpec(DataType.string, question)]),
        Schema([ColSpec(DataType.string)]),
        ParamSchema([ParamSpec("temperature", DataType.double, default)]),
    )
    Model(flavors={"python_function": {}}, signature=signature or None).save(str(files / "MLmodel"))
    return files


def version_with_files(
    settings: Settings,
    folder: Path,
    name: str = "phi3",
    author: str = BOB.name,
    question: str | None = "prompt",
    default: float = 0.4,
) -> Version:
    """A version of such a model on this machine, with two metrics and a run that says who built it."""
    source = logged(folder, question, default).as_uri()
    number = register(settings, name, source, {tags.WRAPPER: "onnx"}, {"speed": 100.0, "loss": 0.75})
    version = reader.get_version(settings, f"{name}/{number}")
    if author:
        mlflow_client(settings).set_tag(version.run_id, tags.USER, author)
    return version


def version_in_store(settings: Settings, folder: Path, name: str) -> tuple[Version, Callable[[str, bytes], None]]:
    """A version whose files are where the store puts them, and what writes into one of them."""
    version = version_without_files(settings, name)
    model_id = version.source.removeprefix("models:/")
    mlflow_client(settings).log_model_artifacts(model_id, str(logged(folder)))

    def write(path: str, content: bytes) -> None:
        changed = folder / f"changed-{uuid.uuid4().hex}"
        (changed / path).parent.mkdir(parents=True)
        (changed / path).write_bytes(content)
        mlflow_client(settings).log_model_artifacts(model_id, str(changed))

    return version, write


def version_without_files(settings: Settings, name: str) -> Version:
    """A version of a logged model that was never given its files."""
    store = mlflow_client(settings)
    with contextlib.suppress(Conflict), translate_errors(settings):
        store.create_registered_model(name)
    made = store.create_logged_model(experiment_id(settings, tags.BUILDS)).model_id
    number = store.create_model_version(name, f"models:/{made}", tags={tags.WRAPPER: "onnx"}, model_id=made).version
    return reader.get_version(settings, f"{name}/{number}")


def folder_of(version: Version) -> Path:
    """Where such a version's files are."""
    return Path(version.source.removeprefix("file://"))


def answered(version: Version | str, answer: str = "Madrid.", **more: object) -> Turn:
    ref = version if isinstance(version, str) else version.ref
    source = "" if isinstance(version, str) else version.source
    model_id = source.removeprefix("models:/") if source.startswith("models:/") else ""
    return Turn("The capital?", ref, answer=answer, state="done", model_id=model_id, **more)  # type: ignore[arg-type]


def kept(settings: Settings, *turns: Turn, id: str = "") -> str:
    """A conversation with these turns, in the store."""
    id = id or uuid.uuid4().hex
    for turn in turns:
        history.save(settings, id, turn, [], sync=False)
    assert history.flush(settings, 60)
    return id


def vote(settings: Settings, conversation: str, pair: AnswerPair, better: Better | None, person: Person) -> None:
    """Keep a vote that a later one of the person replaces, and None takes back; `ballot.cast` keeps the first."""
    sides = {
        name: {"ref": turn.ref, "model_id": turn.model_id, "turn": turn.id}
        for name, turn in (("new", pair.new), ("old", pair.old))
    }
    history.vote(settings, conversation, {"turn": pair.new.id, "better": better, "user": person.name, **sides})


def voted(
    settings: Settings,
    new: Version,
    old: Version,
    better: Better | None,
    person: Person,
    pair: AnswerPair | None = None,
) -> AnswerPair:
    """Have a person vote on answers of two versions, and keep it; the pair, to vote on it again."""
    if pair is None:
        pair = AnswerPair(answered(old), answered(new, "Paris."))
        kept(settings, pair.old)
        kept(settings, pair.new, id=talk_of(pair))
    vote(settings, talk_of(pair), pair, better, person)
    assert history.flush(settings, 60)
    return pair


def talk_of(pair: AnswerPair) -> str:
    """The id of the conversation that a pair's new answer is in."""
    return pair.new.id[::-1]
