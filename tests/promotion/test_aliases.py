"""Aliases that are not reserved: set, moved, removed, recorded, and left where they are by a promotion."""

from __future__ import annotations

import pytest

from phi3core import tags
from phi3core.access.roles import Person
from phi3core.errors import BadInput, NotFound
from phi3core.promotion import aliases as aliases_module
from phi3core.promotion.promote import delete_alias, promote, set_alias
from phi3core.settings import Settings
from phi3core.store.client import mlflow_client
from tests.promotion.helpers import Refusing, aliases, records


def test_an_alias_moves_from_one_version_to_the_other(three: Settings) -> None:
    set_alias(three, "phi3/1", "champion")

    moved = set_alias(three, "phi3/2", "champion")

    assert moved.aliases == ("champion",)
    assert aliases(three) == {"champion": 2}


def test_a_deleted_alias_is_gone(three: Settings) -> None:
    set_alias(three, "phi3/1", "champion")

    delete_alias(three, "phi3", "champion")

    assert aliases(three) == {}


def test_deleting_an_alias_that_is_not_there_says_so(three: Settings) -> None:
    with pytest.raises(NotFound, match="has no alias @champion"):
        delete_alias(three, "phi3", "champion")


@pytest.mark.parametrize("alias", ["production", "Production", "STAGING", "latest", "Latest", "v3", "V12"])
def test_a_reserved_alias_is_refused(three: Settings, alias: str) -> None:
    promote(three, "phi3/1", "Production")

    with pytest.raises(BadInput, match="reserved"):
        set_alias(three, "phi3/2", alias)
    with pytest.raises(BadInput, match="reserved"):
        delete_alias(three, "phi3", alias)

    assert aliases(three) == {"production": 1}


@pytest.mark.parametrize("alias", ["", "a b", "a/b", "a@b", "ä!", ".hidden"])
def test_an_alias_of_odd_characters_is_refused(three: Settings, alias: str) -> None:
    with pytest.raises(BadInput, match="An alias is made of"):
        set_alias(three, "phi3/1", alias)


def test_aliases_are_recorded_too(three: Settings) -> None:
    set_alias(three, "phi3/1", "champion", person=Person("ada", "admin"))
    delete_alias(three, "phi3", "champion", reason="no more", person=Person("bob", "admin"))

    made, deleted = records(three)

    assert (made.data.tags[tags.ACTION], made.data.tags[tags.TO]) == ("set alias", "@champion")
    assert (deleted.data.tags[tags.ACTION], deleted.data.tags[tags.FROM]) == ("delete alias", "@champion")
    assert (deleted.data.tags[tags.USER], deleted.data.tags[tags.REASON]) == ("bob", "no more")
    assert {made.info.status, deleted.info.status} == {"FINISHED"}


def test_other_aliases_stay_where_they_are(three: Settings) -> None:
    set_alias(three, "phi3/1", "champion")
    promote(three, "phi3/1", "Production")
    promote(three, "phi3/2", "Production")

    assert aliases(three) == {"champion": 1, "production": 2}


@pytest.mark.parametrize(
    "told",
    [
        "(sqlite3.IntegrityError) UNIQUE constraint failed: registered_model_aliases.name",
        '(psycopg2.errors.UniqueViolation) duplicate key value violates unique constraint "registered_model_alias_pk"',
    ],
)
def test_an_alias_that_somebody_else_creates_at_the_same_moment_is_tried_again(
    told: str, three: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mlflow.exceptions import MlflowException

    store, refusals = mlflow_client(three), iter([True])

    class Racing(Refusing):
        def _refuse(self, *arguments: object) -> None:
            """What a database says when two promoters create one alias: in a quarter of the calls, where they race."""
            if next(refusals, False):
                raise MlflowException(told, error_code="BAD_REQUEST")
            store.set_registered_model_alias(*arguments)

    monkeypatch.setattr(aliases_module, "mlflow_client", lambda _: Racing(store, "set_registered_model_alias"))

    promote(three, "phi3/2", "Production")

    assert aliases(three) == {"production": 2}
