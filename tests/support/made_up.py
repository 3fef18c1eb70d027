"""Texts that hypothesis makes up, and how it does: the same ones at every run, so that a test fails for everybody."""

from __future__ import annotations

import hypothesis
from hypothesis import strategies as st

hypothesis.settings.register_profile(
    "repeated",
    derandomize=True,
    deadline=None,  # a busy machine is slow at times
    database=None,
    suppress_health_check=[hypothesis.HealthCheck.too_slow, hypothesis.HealthCheck.function_scoped_fixture],
)
hypothesis.settings.load_profile("repeated")

TEXT = st.text(st.characters(codec="utf-8") | st.sampled_from("\0\x01\x04 a"), max_size=12)
"""Short texts of all of Unicode; controls, NUL above all, come more often than elsewhere."""
