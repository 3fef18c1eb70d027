"""``python -m phi3core``: the same calls as the pages, for scripts and terminals."""

from . import building, comparing, deciding, listing, promoting, recording, serving, talking
from .group import main

__all__ = [
    "building",
    "comparing",
    "deciding",
    "listing",
    "main",
    "promoting",
    "recording",
    "serving",
    "talking",
]
