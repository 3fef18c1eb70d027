"""Every error a person is meant to read: one sentence that says what is wrong and what to do.

Errors of other libraries are translated into these once, at the boundary where they are called, with
``raise ... from error``. Pages and commands catch ``Phi3Error`` and nothing else.
"""


class Phi3Error(Exception):
    """The base of all errors below: its text is shown to the user as it is."""


class BadInput(Phi3Error):
    """What was asked for makes no sense as given: an empty prompt, a malformed reference."""


class OptionError(BadInput):
    """A generation option, called `option`, whose value is out of range."""

    def __init__(self, option: str, text: str) -> None:
        super().__init__(text)
        self.option = option


class ContextFull(BadInput):
    """A conversation or prompt that is longer than the model's context."""


class BaseNeeded(BadInput):
    """An adapter whose base is not named or can't be had: another one has to be named."""


class NotFound(Phi3Error):
    """A model, version, alias, folder or repository that is not there."""


class Conflict(Phi3Error):
    """Another process or person was first: a port in use, a version promoted meanwhile."""


class PolicyUnmet(Conflict):
    """A promotion that the model's policy does not allow yet."""


class Forbidden(Phi3Error):
    """Something that the person's role does not allow."""


class StoreError(Phi3Error):
    """The MLflow store answered, and refused or failed."""


class StoreDown(StoreError):
    """The MLflow store can't be reached or does not answer."""


class SourceError(Phi3Error):
    """Weights that can't be had or can't be used: not a model, damaged, unreachable."""


class BuildError(Phi3Error):
    """A build step that failed for a reason of its own, such as a full disk."""


class Cancelled(Phi3Error):
    """Stopped on request; nothing was registered."""


class Busy(Phi3Error):
    """Too much is asked at once, or memory is short: try again in a moment."""


class ServerError(Phi3Error):
    """A model server that failed to start, died, or broke off an answer."""


class NotReady(ServerError):
    """A model server whose model has not loaded yet, or could not."""
