"""The program: the group of commands with every command in it."""

from . import (
    benchmark,
    build,
    chat,
    compare,
    evaluate,
    models,
    package,
    parity,
    policy,
    promote,
    record,
    requests,
    review,
    serve,
    trust,
)
from .group import main

__all__ = [
    "benchmark",
    "build",
    "chat",
    "compare",
    "evaluate",
    "main",
    "models",
    "package",
    "parity",
    "policy",
    "promote",
    "record",
    "requests",
    "review",
    "serve",
    "trust",
]
