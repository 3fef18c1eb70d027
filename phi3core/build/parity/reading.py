"""The compared model's part, in a process of its own: it answers greedily, reads the texts, and leaves its logits.

``python -m phi3core.build.parity.reading FOLDER KIND TOKENIZER WORK``. What it leaves in the folder WORK, `comparing`
reads. Progress is a line of JSON each on standard output.
"""

from __future__ import annotations

import json
import shutil
import sys
import traceback
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from pydantic import TypeAdapter

from phi3core.engine.interface import Messages
from phi3core.engine.kv_cache import Logits, Tokens
from phi3core.engine.runtime import Runtime
from phi3core.engine.weights import open_runtime
from phi3core.errors import BadInput, Phi3Error

from . import models, texts

TOLD = 3
"""The exit status where the last line of standard error is a sentence of ours."""
_ANSWER = 64  # tokens of a greedy answer at most
_LOGITS, _READ = "logits.f32", "read.json"


@dataclass(frozen=True)
class Answer:
    """A prompt, its tokens, and those of what the compared model answers."""

    prompt: str
    asked: list[int]
    tokens: list[int]


@dataclass(frozen=True)
class Reading:
    """What the compared model has read and said; its logits are in a file beside it. tokens: of each passage."""

    kinds: list[str]
    tokens: list[list[int]]
    vocabulary: int
    answers: list[Answer]

    @property
    def predicted(self) -> int:
        return sum(len(passage) - 1 for passage in self.tokens)


_FORM = TypeAdapter(Reading)


def load(work: Path) -> tuple[Reading, Logits]:
    """The reading, and float32[predicted tokens, vocabulary] of it, which stays on the disk."""
    reading = _FORM.validate_json((work / _READ).read_bytes())
    return reading, np.memmap(work / _LOGITS, np.float32, "r", shape=(reading.predicted, reading.vocabulary))


def tell(fraction: float, text: str) -> None:
    """A line of progress for the process that started this one."""
    print(json.dumps({"fraction": fraction, "text": text}), flush=True)


def open_readable(folder: Path, kind: str, tokenizer: Path) -> Runtime:
    """Load a model. kind: see parity.Model. Raises SourceError where it can't be loaded, BadInput or read."""
    runtime = models.open_exact(folder) if kind == "source" else open_runtime(folder, kind, tokenizer)
    if not runtime.rows:
        raise BadInput("The model's graph gives the logits after the last token alone: it can't be compared.")
    return runtime


def check_space(work: Path, needed: int) -> None:
    """Raise BadInput where the disk lacks these bytes: a file that is written through memory ends the process there."""
    free = shutil.disk_usage(work).free
    if free < needed:
        told = f"{work} has {free / 1e6:,.0f} MB left and comparing needs {needed / 1e6:,.0f} MB for a while"
        raise BadInput(f"The disk is full: {told}. Free some space, then compare again.")


def read_texts(runtime: Runtime) -> list[texts.Passage]:
    return texts.read_passages(runtime.encode, runtime.render if runtime.templated else None, runtime.context_length)


def ask(runtime: Runtime, prompt: str) -> Tokens:
    """A prompt as the model gets it."""
    messages: Messages = [{"role": "user", "content": prompt}]
    return runtime.encode(runtime.render(messages) if runtime.templated else prompt)


def main(folder: Path, kind: str, tokenizer: Path, work: Path) -> None:
    tell(0.0, "loading the model")
    runtime = open_readable(folder, kind, tokenizer)
    passages, asked = read_texts(runtime), texts.prompts()
    check_space(work, 4 * runtime.vocabulary * sum(passage.predicted for passage in passages))
    prompts = [ask(runtime, prompt) for prompt in asked]
    # What a small context has no room to ask is left out.
    fitting = [at for at, tokens in enumerate(prompts) if len(tokens) + _ANSWER <= runtime.context_length]
    answers = models.answer_greedily(
        runtime, [prompts[at] for at in fitting], _ANSWER, lambda share: tell(0.4 * share, "answering the prompts")
    )
    reading = Reading(
        [passage.kind for passage in passages],
        [passage.tokens.tolist() for passage in passages],
        runtime.vocabulary,
        [Answer(asked[at], prompts[at].tolist(), tokens) for at, tokens in zip(fitting, answers, strict=True)],
    )
    logits = np.memmap(work / _LOGITS, np.float32, "w+", shape=(reading.predicted, reading.vocabulary))
    done = 0
    for passage in passages:
        left = passage.predicted
        for piece in models.read_whole(runtime, passage.tokens):
            piece = piece[: min(len(piece), left), : reading.vocabulary]  # what follows the last token is not known
            logits[done : done + len(piece)] = piece
            done, left = done + len(piece), left - len(piece)
            tell(0.4 + 0.6 * done / reading.predicted, f"reading {reading.predicted:,} tokens")
    logits.flush()
    (work / _READ).write_bytes(_FORM.dump_json(reading))


def run(body: object, *arguments: object) -> None:
    """Run a process's body; a sentence of ours ends it as `TOLD` says."""
    try:
        body(*arguments)  # type: ignore[operator]
    except Phi3Error as failure:
        traceback.print_exc()
        print(str(failure).replace("\n", " "), file=sys.stderr)
        sys.exit(TOLD)


if __name__ == "__main__":
    run(main, Path(sys.argv[1]), sys.argv[2], Path(sys.argv[3]), Path(sys.argv[4]))
