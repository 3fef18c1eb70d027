"""Writing the Model Registry: stages and aliases, and the record of it. Every page and command comes through here."""

from .looking import Look, disagreeing, disagreements, look
from .moving import Promotion, delete_alias, previous, promote, rollback, set_alias
from .planning import Change, Plan, plan
from .records import Page, Record
from .removing import delete_version, why_not

__all__ = [
    "Change",
    "Look",
    "Page",
    "Plan",
    "Promotion",
    "Record",
    "delete_alias",
    "delete_version",
    "disagreeing",
    "disagreements",
    "look",
    "plan",
    "previous",
    "promote",
    "rollback",
    "set_alias",
    "why_not",
]
