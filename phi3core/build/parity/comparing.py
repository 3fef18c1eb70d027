"""The base's part, in a process of its own: it reads the same texts and is held against what `reading` left.

``python -m phi3core.build.parity.comparing FOLDER KIND TOKENIZER WORK``; KIND ``source`` are the weights that a version
was built from. The last line of standard output is the report, as JSON; the lines before are progress.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Set
from pathlib import Path

import numpy as np

from phi3core.engine.kv_cache import Logits
from phi3core.engine.runtime import Runtime
from phi3core.errors import BadInput

from . import models, texts
from .reading import Answer, Reading, load, open_readable, read_texts, run, tell
from .results import REPORT, GreedyAnswer, Report
from .statistics import Rows, compare_logits, join

Decode = Callable[[list[int]], str]


def main(folder: Path, kind: str, tokenizer: Path, work: Path) -> None:
    from tokenizers import Tokenizer

    tell(0.0, "loading the base")
    reading, logits = load(work)
    runtime = open_readable(folder, kind, tokenizer)
    passages = read_texts(runtime)
    check_tokens(passages, reading)
    rows = compare_passages(runtime, passages, logits)
    words = Tokenizer.from_file(str(tokenizer / "tokenizer.json"))
    answers = []
    for number, answer in enumerate(reading.answers):
        answers.append(find_parting(runtime, answer, words.decode))
        tell(0.8 + 0.2 * (number + 1) / len(reading.answers), "reading the answers")
    report = make_report(reading.kinds, rows, answers)
    print(json.dumps({"report": REPORT.dump_python(report, mode="json")}))  # in ASCII, and so in one line


def check_tokens(passages: list[texts.Passage], reading: Reading) -> None:
    """Raise BadInput unless both models read the same tokens."""
    if [passage.tokens.tolist() for passage in passages] != reading.tokens:
        raise BadInput(
            "The two can't be held against each other: they cut the same text into different tokens. Compare versions "
            "of one model, which have one tokenizer."
        )


def compare_passages(runtime: Runtime, passages: list[texts.Passage], logits: Logits) -> list[Rows]:
    """The rows of each passage. logits: float32[predicted tokens, vocabulary], the compared model's."""
    found, done = [], 0
    for passage in passages:
        parts, at = [], 0
        for piece in models.read_whole(runtime, passage.tokens):
            piece = piece[: passage.predicted - at]
            if len(piece):
                follow = passage.tokens[at + 1 : at + 1 + len(piece)]
                parts.append(compare_logits(piece, np.asarray(logits[done : done + len(piece)]), follow))
            at, done = at + len(piece), done + len(piece)
            tell(0.8 * done / len(logits), f"reading {len(logits):,} tokens")
        found.append(join(parts))
    return found


def find_parting(runtime: Runtime, answer: Answer, decode: Decode) -> GreedyAnswer:
    """Where the base's greedy answer parts from the compared model's.

    The base reads that answer behind its prompt. Up to the first token that it finds less likely than another, its own
    answer is the same one; it need not be written token by token.
    """
    told, eos = answer.tokens, runtime.eos
    whole = np.array([*answer.asked, *told], np.int32)
    likeliest = np.concatenate([piece.argmax(axis=1) for piece in models.read_whole(runtime, whole)])
    chosen = [int(token) for token in likeliest[len(answer.asked) - 1 :][: len(told)]]
    same = [one == other or (one in eos and other in eos) for one, other in zip(chosen, told, strict=True)]
    text = decode(told)
    if all(same):
        return GreedyAnswer(answer.prompt, len(told), None, text)
    at = same.index(False)
    return GreedyAnswer(
        answer.prompt, len(told), at, text, _word(decode, chosen[at], eos), _word(decode, told[at], eos)
    )


def make_report(kinds: list[str], rows: list[Rows], answers: list[GreedyAnswer]) -> Report:
    """kinds, rows: of each passage."""
    by_kind = {kind: join([row for of, row in zip(kinds, rows, strict=True) if of == kind]) for kind in kinds}
    return Report(
        join(rows).figures(),
        {kind: found.figures() for kind, found in by_kind.items()},
        {kind: [float(f"{value:.3g}") for value in found.kl] for kind, found in by_kind.items()},
        answers,
    )


def _word(decode: Decode, token: int, eos: Set[int]) -> str:
    return "(end)" if token in eos else decode([token])


if __name__ == "__main__":
    run(main, Path(sys.argv[1]), sys.argv[2], Path(sys.argv[3]), Path(sys.argv[4]))
