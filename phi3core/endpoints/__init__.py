"""Models that are served elsewhere: read from a TOML file, and asked over HTTP.

Two kinds: whatever speaks OpenAI's protocol, which the openai client asks (answering.py), and MLflow models behind a
scoring URL, which `invoke` asks: `mlflow models serve`, Azure ML's managed online endpoints, Databricks' model
serving. Those answer in one piece. A key goes to its own URL and nowhere else: into no text, no log, no redirect.
"""

from .asking import Answer, check, invoke
from .table import Endpoint, load, named

__all__ = ["Answer", "Endpoint", "check", "invoke", "load", "named"]
