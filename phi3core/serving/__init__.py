"""Serving one version: server.py is the ASGI app, pool.py keeps the child processes that run it."""
