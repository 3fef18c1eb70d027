"""Everything that the pages and the command line call. Never imports streamlit.

Nothing here phones home: the switches below are read by MLflow and huggingface_hub when they are
imported, so they are set before any of our modules can do so.
"""

import os

__version__ = "0.2.0"

os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("DO_NOT_TRACK", "true")
os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
