"""Every tag, metric, artifact and experiment name that we write, in one place."""

from typing import Final

# Experiments.
BUILDS: Final = "phi3-builds"
PROMOTIONS: Final = "phi3-promotions"
CONVERSATIONS: Final = "phi3-conversations"

# Artifact names inside a logged model.
ONNX_ARTIFACT: Final = "phi3-mini-onnx"
PIPELINE_ARTIFACT: Final = "phi3-mlflow-model"

# Tags of a model version; a build's run carries the same ones.
WRAPPER: Final = "phi3.wrapper"
SOURCE: Final = "phi3.source"
REVISION: Final = "phi3.revision"
PRECISION: Final = "phi3.precision"
LICENCE: Final = "phi3.licence"
SIGNATURE: Final = "phi3.signature"
DIGEST: Final = "phi3.digest"
SIZE: Final = "phi3.size_bytes"

# Tags of a build's run.
MODEL_NAME: Final = "phi3.model"
VERSION: Final = "phi3.version"
STEP: Final = "phi3.step"
REASON: Final = "phi3.reason"
HOST: Final = "phi3.host"

# Tags of a promotion's run.
ACTION: Final = "phi3.action"
FROM: Final = "phi3.from"
TO: Final = "phi3.to"
USER: Final = "phi3.user"

# Tags, metadata and attributes of a turn's trace, and its assessment. Its model version is VERSION.
TITLE: Final = "phi3.title"
ASKED: Final = "phi3.asked"
PARENT: Final = "phi3.parent"
ORIGIN: Final = "phi3.origin"
TURN: Final = "phi3.turn"
RENDERED: Final = "phi3.rendered_prompt"
THUMB: Final = "thumb"

# Metrics of a build's run.
TOKENS_PER_SECOND: Final = "tokens_per_second"
FIRST_TOKEN_MS: Final = "first_token_ms"
PEAK_MEMORY: Final = "peak_memory_bytes"
SIZE_METRIC: Final = "size_bytes"
SECONDS: Final = "build_seconds"

WRAPPERS: Final = ("transformers", "onnx")
STAGES: Final = ("None", "Staging", "Production", "Archived")
RESERVED_ALIASES: Final = {"production": "Production", "staging": "Staging"}
DEMO_MODEL: Final = "phi3-embedded"
