"""What makes thousands of small SQLite stores in one process quick. Nothing here changes what a store answers."""

from __future__ import annotations

import contextlib
import functools
import sqlite3
from typing import Any


def make_quick() -> None:
    """From now on this process's stores sync nothing to the disk, and share what is read or compiled for each anew."""
    import mlflow.store.db.utils
    import sqlalchemy
    from sqlalchemy.dialects.sqlite.pysqlite import SQLiteDialect_pysqlite as Dialect
    from sqlalchemy.util import LRUCache

    # MLflow reads its 68 migrations whenever it opens a store, and finds the same revision every time.
    revision = functools.cache(mlflow.store.db.utils._get_latest_schema_revision)
    mlflow.store.db.utils._get_latest_schema_revision = revision

    # SQLAlchemy compiles each statement once for an engine, which is once for a test: a quarter of its time. Compiled
    # statements are kept by dialect, of which each engine has its own; to their caches all are the same.
    Dialect.__eq__ = lambda self, other: type(self) is type(other)  # type: ignore[method-assign]
    Dialect.__hash__ = lambda self: hash(type(self))  # type: ignore[method-assign]
    statements = LRUCache[Any, Any](2000)

    def created(engine: sqlalchemy.Engine) -> None:
        if type(engine.dialect) is Dialect:
            engine._compiled_cache = statements

    _after_init(sqlalchemy.Engine, created)

    def connected(connection: Any, _: object) -> None:
        # A test's store need not survive a power cut. A file that is no database is for MLflow to find out.
        if isinstance(connection, sqlite3.Connection):
            with contextlib.suppress(sqlite3.DatabaseError):
                connection.execute("PRAGMA synchronous=OFF")

    sqlalchemy.event.listen(sqlalchemy.Engine, "connect", connected)


def _after_init(kind: Any, act: Any) -> None:
    init = kind.__init__

    def both(self: Any, *args: Any, **options: Any) -> None:
        init(self, *args, **options)
        act(self)

    kind.__init__ = both
