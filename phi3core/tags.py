"""Every tag, metric, artifact and experiment name that we write, in one place."""

from typing import Final

OURS: Final = "phi3."
"""What the names of our tags begin with: the programs write them, and no person."""

# Experiments.
BUILDS: Final = "phi3-builds"
PROMOTIONS: Final = "phi3-promotions"
COPIES: Final = "phi3-copies"
CONVERSATIONS: Final = "phi3-conversations"
PROMPT_SETS: Final = "phi3-prompt-sets"
EVALUATIONS: Final = "phi3-evaluations"
REVIEWS: Final = "phi3-reviews"

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
# Of an adapter that was merged: the model below it. SOURCE and REVISION are the adapter's.
BASE: Final = "phi3.base"
BASE_REVISION: Final = "phi3.base_revision"
SIZE: Final = "phi3.size_bytes"

# Tags of a copied version: its origin, the person who copied it, and when.
ORIGIN_VERSION: Final = "phi3.origin.version"
ORIGIN_STORE: Final = "phi3.origin.store"
ORIGIN_RUN: Final = "phi3.origin.run"
ORIGIN_USER: Final = "phi3.origin.user"
ORIGIN_TIME: Final = "phi3.origin.time"

# Tags of a build's run.
MODEL_NAME: Final = "phi3.model"
VERSION: Final = "phi3.version"
STEP: Final = "phi3.step"
REASON: Final = "phi3.reason"
HOST: Final = "phi3.host"
# Its metrics' conditions as JSON (registry/conditions.py), with the metrics' step behind it.
MEASURED: Final = "phi3.measured."

# Tags of a record's run: what is intended, sealed when it is opened …
ACTION: Final = "phi3.action"
FROM: Final = "phi3.from"
TO: Final = "phi3.to"
USER: Final = "phi3.user"
ROLE: Final = "phi3.role"
REPLACED: Final = "phi3.replaced"
REPLACED_TO: Final = "phi3.replaced_to"
CHECKS: Final = "phi3.checks"
OVERRIDE: Final = "phi3.override"
REQUEST: Final = "phi3.request"
# Of a record of a review or an evaluation alone: what it has shown, as JSON (promotion/policy/evidence.py).
EVIDENCE: Final = "phi3.evidence"
LOCK: Final = "phi3.lock"
PREVIOUS: Final = "phi3.previous"
SEAL: Final = "phi3.seal"
# … and what came of it, sealed when it is closed.
STATUS: Final = "phi3.status"
OUTCOME: Final = "phi3.outcome"
ENDED: Final = "phi3.ended"
CLOSING: Final = "phi3.closing"
# A sentence that MLflow's own page shows, and that a search for text goes through. Not sealed: it says nothing more.
NOTE: Final = "mlflow.note.content"
# A registered model's tag: the seal of its latest record. The experiment's, for records that are of no model.
RECORD: Final = "phi3.record"
# A registered model's tag: what a promotion needs, as JSON by stage.
POLICY: Final = "phi3.policy"

# Tags, metadata and attributes of a turn's trace, and its assessment. Its model version is VERSION.
TITLE: Final = "phi3.title"
# Of a conversation's first turn, with what stands for the person's name behind it.
PINNED: Final = "phi3.pinned"
ASKED: Final = "phi3.asked"
PARENT: Final = "phi3.parent"
ORIGIN: Final = "phi3.origin"
# Whether a turn comes from a file: "true", or "false" for one that was answered here in a conversation from a file.
IMPORTED: Final = "phi3.imported"
TURN: Final = "phi3.turn"
RENDERED: Final = "phi3.rendered_prompt"
THUMB: Final = "thumb"

# A vote: an assessment on the trace of the repeated answer, and its metadata.
VOTE: Final = "vote"
BETTER: Final = "phi3.better"
NEW: Final = "phi3.new"
NEW_MODEL: Final = "phi3.new_model"
OLD: Final = "phi3.old"
OLD_MODEL: Final = "phi3.old_model"
OLD_TURN: Final = "phi3.old_turn"

# Tags of a prompt set's run, beside DIGEST and USER.
PROMPT_SET: Final = "phi3.prompt_set"
ITEMS: Final = "phi3.items"
# Tags of an evaluation's run, beside those of its prompt set: what it is of, so that the same one is found again; the
# versions, and the digests of their files, as JSON. Of the trace of an answer: the item that was asked.
EVALUATION: Final = "phi3.evaluation"
VERSIONS: Final = "phi3.versions"
OPTIONS: Final = "phi3.options"
DIGESTS: Final = "phi3.digests"
ITEM: Final = "phi3.item"
# Of an evaluation's run, too: who judged its answers, a version or an endpoint.
JUDGE: Final = "phi3.judge"
# Of an evaluation's run while it is made: how far it is, where and when that was written, as JSON; and that it is to
# stop.
PROGRESS: Final = "phi3.progress"
STOP: Final = "phi3.stop"

# What a reviewer does with an item of a review: assessments on an answer's trace, and their metadata beside ITEM.
JUDGEMENT: Final = "judgement"
CLAIM: Final = "claim"
REVIEW: Final = "phi3.review"
ACT: Final = "phi3.act"
# Tags of a review's run, beside DIGEST (of its items), USER and SEAL: its definition as JSON, and once it is closed its
# result: CLOSING seals it. A comment's name has the moment and a random number behind it.
# BEING_CLOSED: the result is being made, and no votes are taken.
PLAN: Final = "phi3.plan"
SET_DIGEST: Final = "phi3.set_digest"
RESULT: Final = "phi3.result"
COMMENT: Final = "phi3.comment."
BEING_CLOSED: Final = "phi3.being_closed"

# A benchmark's result as JSON (evaluation/benchmarks/scores.py), with the suite behind it: a tag of the version's run.
BENCHMARK: Final = "phi3.benchmark."

# Metrics of a build's run.
TOKENS_PER_SECOND: Final = "tokens_per_second"
FIRST_TOKEN_MS: Final = "first_token_ms"
PEAK_MEMORY: Final = "peak_memory_bytes"
LOAD: Final = "other_load_percent"
SIZE_METRIC: Final = "size_bytes"
SECONDS: Final = "build_seconds"
# … and of how far it is from the weights it was built from.
PARITY_KL: Final = "parity_kl"
PARITY_KL_HIGH: Final = "parity_kl_high"
PARITY_KL_P99: Final = "parity_kl_p99"
PARITY_SAME_TOP: Final = "parity_same_top"
PARITY_PERPLEXITY: Final = "parity_perplexity"
PARITY_RATIO: Final = "parity_perplexity_ratio"
# … and what the names of those that a benchmark came to begin with.
BENCHMARK_METRIC: Final = "benchmark/"

WRAPPERS: Final = ("transformers", "onnx")
STAGES: Final = ("None", "Staging", "Production", "Archived")
RESERVED_ALIASES: Final = {"production": "Production", "staging": "Staging"}
DEMO_MODEL: Final = "phi3-embedded"
