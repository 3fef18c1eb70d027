"""The program: the group of commands with every command in it."""

from . import build, chat, compare, models, promote, record, requests, serve
from .group import main

__all__ = ["build", "chat", "compare", "main", "models", "promote", "record", "requests", "serve"]
