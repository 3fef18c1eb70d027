"""``phi3`` and ``python -m phi3core``: the same calls as the pages, for scripts and terminals.

Decides nothing itself. Its face: `main.main`.
"""
