"""Closing a review: what was said so far becomes its result, which is sealed and does not change any more.

What it shows of each version is a record that a policy reads (`evidence.py`). The result is a file of the review's run,
named by its digest; the seal over it, over who closed it and over what the versions' files were then is a tag, made as
those of records are.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from filelock import FileLock

from phi3core import tags
from phi3core.access.roles import Person
from phi3core.errors import BadInput, Conflict, Forbidden, NotFound, Phi3Error, StoreDown, StoreError
from phi3core.evaluation import evidence, prompt_sets
from phi3core.evaluation.judgement import Judgement
from phi3core.promotion.record import seal
from phi3core.registry import artifacts, reader
from phi3core.settings import Settings
from phi3core.store.client import mlflow_client, translate_errors
from phi3core.timestamps import now_ms

from .create import version_digest
from .items import digest_of
from .review import Review, read_review, read_run
from .votes import read_judgements


@dataclass(frozen=True)
class Result:
    """What came of a review. by: who closed it. at: milliseconds since 1970. digests: of the versions' files then."""

    judgements: tuple[Judgement, ...]
    by: str
    at: int
    digests: Mapping[str, str]


def close(settings: Settings, review: Review, person: Person) -> Result:
    """Fix the result of a review, and keep what it has shown of its versions for their promotions.

    Fetches the versions' files where their digests need it.

    Raises:
        Forbidden: the person neither owns it nor is an admin.
        Conflict: it is closed already.
        BadInput: nobody has voted.
        StoreError: it was changed in the store.
        StoreDown: the store does not answer.
    """
    if not review.is_run_by(person):
        raise Forbidden(f"Only {review.by}, who owns it, and an admin can close this review.")
    with FileLock(settings.locks / f"review-{review.id}.lock"):
        review = read_review(settings, review.id)
        if review.closed:
            raise Conflict("This review is closed already.")
        digests = {ref: version_digest(settings, ref) for ref in review.refs}  # votes are taken meanwhile
        with _without_votes(settings, review):
            _fix(settings, review, person, digests)
    return read_result(settings, read_review(settings, review.id))


def read_result(settings: Settings, review: Review) -> Result:
    """The result of a closed review.

    Raises:
        NotFound: it is not closed.
        StoreError: the result is not the one that it was closed with.
        StoreDown: the store does not answer.
    """
    known = read_run(settings, review.id).data.tags
    if not review.closed:
        raise NotFound("This review is not closed: it has no result yet.")
    changed = StoreError("The result of this review is not the one that it was closed with: it was changed.")
    told = known.get(tags.RESULT, "")
    if not review.intact or not seal.holds(known[tags.CLOSING], _sealed(review, known, told), settings.record_key):
        raise changed
    found = json.loads(told)
    with translate_errors(settings), TemporaryDirectory() as folder:
        path = mlflow_client(settings).download_artifacts(review.id, _file(found["digest"]), folder)
        text = Path(path).read_bytes().decode(errors="replace")
    if digest_of(text) != found["digest"]:
        raise changed
    judgements = tuple(Judgement(**json.loads(line)) for line in text.rstrip("\n").split("\n"))
    return Result(judgements, found["by"], found["at"], found["digests"])


def tell_changes(settings: Settings, review: Review, digests: Mapping[str, str]) -> list[str]:
    """What became of the versions and the prompt set since, a sentence each. Files elsewhere are not fetched for it.

    Args:
        digests: by version, of its files before: when the review was made, or when it was closed.

    Raises:
        StoreDown: the store does not answer.
    """
    found = [sentence for ref in review.refs if (sentence := _change(settings, ref, digests.get(ref, "")))]
    name = review.prompt_set.partition("@")[0]
    try:
        newest = prompt_sets.find_set(settings, name)
    except NotFound:
        return [*found, f"The prompt set {name} was deleted since; the review keeps its own items."]
    if newest.digest != review.set_digest:
        found.append(f"{name} has a newer version, {newest.ref}; this review is of {review.prompt_set}.")
    return found


# ---------------------------------------------------------------- inside


@contextlib.contextmanager
def _without_votes(settings: Settings, review: Review) -> Iterator[None]:
    """Have no votes taken meanwhile, which the result would be without; where closing fails, they are taken again."""
    store = mlflow_client(settings)
    with translate_errors(settings):
        store.set_tag(review.id, tags.BEING_CLOSED, str(now_ms()))
    try:
        yield
    except BaseException:
        with contextlib.suppress(Phi3Error), translate_errors(settings):
            store.delete_tag(review.id, tags.BEING_CLOSED)
        raise


def _fix(settings: Settings, review: Review, person: Person, digests: Mapping[str, str]) -> None:
    """Write the result of what was said so far."""
    judgements = read_judgements(settings, review, fresh=True)
    if not judgements:
        raise BadInput("Nobody has voted yet: there is nothing to close.")
    text = "".join(f"{json.dumps(asdict(one), ensure_ascii=False, sort_keys=True)}\n" for one in judgements)
    told = {"digest": digest_of(text), "by": person.name, "at": now_ms(), "digests": digests}
    evidence.seal_review(settings, person, review, judgements)  # before: where this fails, it is not closed
    _write(settings, review, text, json.dumps(told, sort_keys=True))


def _change(settings: Settings, ref: str, before: str) -> str:
    if ref.startswith("endpoint:"):
        return ""
    try:
        version = reader.get_version(settings, ref)
    except (NotFound, BadInput):
        return f"{ref} was deleted since."
    try:
        now = artifacts.read_state(settings, version).digest
    except StoreDown:
        raise
    except Phi3Error:
        return f"The files of {ref} can't be read any more."
    if before and now and now != before:
        return f"The files of {ref} changed since: what was said is of other ones."
    return f"{ref} is archived now." if version.stage == "Archived" else ""


def _write(settings: Settings, review: Review, text: str, told: str) -> None:
    from mlflow.entities import RunTag

    known = read_run(settings, review.id).data.tags
    sealed = seal.of_content(_sealed(review, known, told), settings.record_key)
    store = mlflow_client(settings)
    with translate_errors(settings), TemporaryDirectory() as folder:
        file = Path(folder, _file(digest_of(text)))
        file.write_text(text, encoding="utf-8", newline="")
        store.log_artifact(review.id, str(file))
        store.log_batch(review.id, tags=[RunTag(tags.RESULT, told), RunTag(tags.CLOSING, sealed)])
        store.set_terminated(review.id)


def _sealed(review: Review, known: Mapping[str, str], told: str) -> dict[str, str]:
    """What a result's seal covers: the review's own seal too, so that no result can be moved to another one."""
    return {"id": review.id, "review": known.get(tags.SEAL, ""), "result": told}


def _file(digest: str) -> str:
    return f"result-{digest[:12]}.jsonl"
