"""Who works on the pages, one of each role."""

from __future__ import annotations

from phi3core.access.roles import Person

ANN = Person("ann@example.org", "admin")
RUTH = Person("ruth@example.org", "releaser")
RAY = Person("ray@example.org", "reviewer")
VERA = Person("vera@example.org", "viewer")
