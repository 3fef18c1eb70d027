"""The case that a policy is held against: a version that is to move, and what the criteria ask about it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Final

from phi3core.errors import NotFound
from phi3core.promotion.record.history import History
from phi3core.registry import artifacts
from phi3core.registry.models import Version
from phi3core.settings import Settings
from phi3core.traces import feedback

from . import requests
from .policy import Policy
from .request_status import Decision, FileStates, MissingFiles, Request, same_person

Answer = tuple[bool, str] | tuple[bool, str, str]
"""Whether a criterion is met, the evidence, and what it rests on: fields of `Check`."""

NO_OTHER: Final = "There is no other version in Production to compare it with."


@dataclass(frozen=True)
class Case:
    """A version that is to move to a stage, and what the criteria ask about it; each is read once.

    policies: of its model, by stage. history: of its model. files: reads their state. production: reads the version
    in Production, None where there is none.
    """

    settings: Settings
    version: Version
    stage: str
    policies: Mapping[str, Policy]
    history: History
    files: Callable[[], artifacts.ArtifactState]
    production: Callable[[], Version | None]

    @property
    def policy(self) -> Policy:
        return self.policies.get(self.stage, Policy())

    @cached_property
    def requests(self) -> list[Request]:
        """Those for this move that have not ended, newest first, judged by the files as they are now."""
        try:
            state: artifacts.ArtifactState | str = self.files()
        except NotFound as error:
            state = MissingFiles(error)
        found = self.requests_by(FileStates(self.settings, states={self.version.ref: state}))
        return [request for request in found if request.status not in ("withdrawn", "promoted")]

    def requests_by(self, files: FileStates) -> list[Request]:
        """All requests for this move, newest first, judged by these files."""
        return requests.of_version(self.settings, self.version, self.stage, self.history, files, self.policies)

    @cached_property
    def best(self) -> tuple[Request | None, list[Decision]]:
        """The waiting request with the most approvals, with those of them that count."""
        counted = [(request, self._counted(request)) for request in self.requests if request.is_waiting]
        return max(counted, key=lambda one: len(one[1]), default=(None, []))

    def _counted(self, request: Request) -> list[Decision]:
        own = self.policy.other_approver
        return [d for d in request.approvals if not (own and same_person(d.by, request.by))]

    @cached_property
    def reviews(self) -> feedback.Reviews:
        return feedback.read_reviews(self.settings, self.version, conversations=False)

    @cached_property
    def other_production(self) -> Version | None:
        """The version in Production, where that is another one."""
        found = self.production()
        return None if found is None or found.version == self.version.version else found
