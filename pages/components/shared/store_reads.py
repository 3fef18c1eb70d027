"""What several pages read of the store: registered models, versions, requests for a promotion. All raise Phi3Error."""

from __future__ import annotations

from phi3core.promotion.policy import requests
from phi3core.promotion.policy.request_status import Request
from phi3core.registry import reader
from phi3core.registry.models import Model, Version, VersionDetails

from . import reads, ui

_FRESH = 5.0  # seconds: every press of a button draws the page anew
_FILES_FRESH = 600.0  # seconds: what was logged with a version does not change


def models(anew: bool = False) -> list[Model]:
    """All registered models. anew: what was read lately won't do."""
    return reads.read("Reading the registry …", reader.list_models, ui.config(), max_age=0 if anew else _FRESH)


def versions(name: str, anew: bool = False) -> list[Version]:
    """All versions of a model, newest first. anew: what was read lately won't do."""
    words = "Reading the versions …"
    return reads.read(words, reader.list_versions, ui.config(), name, max_age=0 if anew else _FRESH)


def resolve(ref: str) -> Version:
    """The version that a reference means now."""
    return reads.wait_for("Reading the version …", reader.get_version, ui.config(), ref)


def detail(version: Version) -> VersionDetails:
    """What is read of a version only when it is opened."""
    config, words = ui.config(), "Reading the version …"
    found = reads.read(words, reader.get_details, config, version, max_age=_FILES_FRESH)
    if found.mlmodel_error:  # the store may have it now
        found = reads.read(words, reader.get_details, config, version, max_age=_FRESH)
    return found


def waiting_requests() -> list[Request]:
    """The requests of all models that wait."""
    return reads.read("Reading the requests …", requests.waiting, ui.config(), max_age=_FRESH)


def requests_of(model: str) -> list[Request]:
    """All requests of a model."""
    return reads.read("Reading the requests …", requests.of_model, ui.config(), model, max_age=_FRESH)
