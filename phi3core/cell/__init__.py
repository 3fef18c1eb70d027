"""The cell: what a process that runs somebody's model may still do. A process enters one, and never leaves it.

Knows nothing of models or versions. Its face: `cell.enter`, `cell.why_none`, `environment.allowed`.
"""
