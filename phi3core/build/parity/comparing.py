"""The base's part, in a process of its own: it reads the same texts and is held against what `reading` left.

``python -m phi3core.build.parity.comparing FOLDER KIND TOKENIZER WORK``; KIND ``source`` are the weights that a version
was built from. The last line of standard output is the report, as JSON; the lines before are progress.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence, Set
from pathlib import Path

import numpy as np

from phi3core.engine.kv_cache import Logits, Tokens
from phi3core.engine.runtime import Runtime
from phi3core.errors import BadInput

from . import models, texts
from .reading import Answer, Reading, load, open_readable, read_texts, run, tell
from .results import REPORT, GreedyAnswer, Report
from .statistics import Rows, compare_logits, join

Decode = Callable[[list[int]], str]
_ROWS = 64  # of logits that are compared at a time


def main(folder: Path, kind: str, tokenizer: Path, work: Path) -> None:
    from tokenizers import Tokenizer

    tell(0.0, "loading the base")
    reading, logits = load(work)
    runtime = open_readable(folder, kind, tokenizer)
    passages = read_texts(runtime)
    check_tokens(passages, reading)
    rows = compare_passages(runtime, passages, logits)
    words = Tokenizer.from_file(str(tokenizer / "tokenizer.json"))
    tell(0.8, "reading the answers")
    answers = find_partings(runtime, reading.answers, words.decode)
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
                parts += _compare(piece, logits[done : done + len(piece)], follow)
            at, done = at + len(piece), done + len(piece)
            tell(0.8 * done / len(logits), f"reading {len(logits):,} tokens")
        found.append(join(parts))
    return found


def _compare(base: Logits, compared: Logits, tokens: Tokens) -> list[Rows]:
    """Some rows at a time, for the vocabulary is large and each is computed with several times."""
    parts = [slice(at, at + _ROWS) for at in range(0, len(tokens), _ROWS)]
    return [compare_logits(base[part], np.asarray(compared[part]), tokens[part]) for part in parts]


def find_partings(runtime: Runtime, answers: Sequence[Answer], decode: Decode) -> list[GreedyAnswer]:
    """Where the base's greedy answers part from the compared model's.

    The base reads each behind its prompt. Up to the first token that it finds less likely than another, its own answer
    is the same one; it need not be written token by token.
    """
    whole = [np.array([*answer.asked, *answer.tokens], np.int32) for answer in answers]
    likeliest = models.predict(runtime, whole)
    return [_parting(runtime.eos, *pair, decode) for pair in zip(answers, likeliest, strict=True)]


def _parting(eos: Set[int], answer: Answer, likeliest: Tokens, decode: Decode) -> GreedyAnswer:
    """likeliest: what the base takes to be so after each token of prompt and answer."""
    told = answer.tokens
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
