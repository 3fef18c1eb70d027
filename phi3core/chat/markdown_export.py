"""A conversation as Markdown, for people, and read back to the letter.

The title, then for each turn a heading with who asked and when, the question as a quotation, a heading with the
version, the answer as it is, and what there is to remark. Comments, which no reader sees, tell where an answer ends. A
line of an answer that looks like one of ours has a backslash before it, Markdown's way to say that it is none.
"""

from __future__ import annotations

import re
from datetime import datetime

from phi3core.clean_text import clean
from phi3core.errors import BadInput
from phi3core.timestamps import from_ms, to_ms
from phi3core.traces.turn import State, Turn

from .conversation import Conversation

_MARK, _END = "<!-- phi3-playground/conversation 1 -->", "<!-- end of answer -->"
_SYSTEM, _NO_SYSTEM = "*System prompt:*", "*No system prompt any more.*"
_ASKED = re.compile(r"## (.*), (\d{4}-\d\d-\d\d \d\d:\d\d) UTC( \(raw prompt\))?")
_OURS = re.compile(rf"(\\*)({'|'.join(map(re.escape, (_END, _SYSTEM, _NO_SYSTEM)))}|{_ASKED.pattern})")


def to_markdown(conversation: Conversation) -> str:
    """The active path as Markdown."""
    parts, system = [f"# {_line(conversation.title) or 'Conversation'}", _MARK], ""
    for turn in conversation.path:
        now = turn.system if turn.system.strip() else ""
        if now != system:
            parts += [_SYSTEM, _quoted(now)] if now else [_NO_SYSTEM]
        system = now
        asked = f"{_line(turn.user) or 'User'}, {from_ms(turn.when):%Y-%m-%d %H:%M} UTC"
        parts += [f"## {asked}{' (raw prompt)' if turn.raw else ''}", _quoted(turn.question), f"## {_line(turn.ref)}"]
        parts += [*([_escaped(turn.answer)] if turn.answer else []), _END]
        parts += [_escaped(f"*{line}*") for line in _remarks(turn)]
    return str(clean("\n\n".join(parts))) + "\n"


def _remarks(turn: Turn) -> list[str]:
    remarks = [
        "" if turn.answer else "No answer.",
        turn.note,
        turn.error,
        "Stopped." if turn.state == "stopped" else "",
    ]
    if turn.forgot:
        remarks.append(f"Asked without the {turn.forgot} oldest turns.")
    if turn.thumb is not None:
        remarks.append(f"Rated {'good' if turn.thumb else 'bad'}{f': {turn.comment}' if turn.comment else ''}.")
    if turn.completion_tokens:
        figures = f"{turn.prompt_tokens} + {turn.completion_tokens} tokens"
        remarks.append(figures + (f", {turn.tokens_per_second:.0f} tokens/s" if turn.tokens_per_second else ""))
    return [_line(line) for line in remarks if line]


def _line(text: str) -> str:
    return " ".join(text.split())


def _quoted(text: str) -> str:
    return "\n".join(f"> {line}" if line else ">" for line in text.split("\n"))


def _escaped(text: str) -> str:
    return "\n".join(f"\\{line}" if _OURS.fullmatch(line) else line for line in text.split("\n"))


def _unescaped(line: str) -> str:
    return line[1:] if line.startswith("\\") and _OURS.fullmatch(line) else line


def from_markdown(name: str, text: str) -> tuple[str, list[Turn]]:
    """The title and the turns of what `to_markdown` wrote. Raises BadInput, naming the line, for anything else.

    name: the file's, for messages about it.
    """
    if text.count("\n") == text.count("\r\n"):  # an editor made them: `to_markdown` writes none
        text = text.replace("\r\n", "\n")
    if _MARK not in text.split("\n")[:4]:
        raise BadInput(
            f"{name} is no conversation that was exported here: Markdown is read only as “Share” writes it, with "
            f"“{_MARK}” below its title. Bring other conversations as JSON or JSONL of OpenAI messages."
        )
    return _Reader(name, text.split("\n")).read()


class _Reader:
    """Goes through the lines of a file. at: the one that comes next."""

    def __init__(self, name: str, lines: list[str]) -> None:
        self._name, self._lines, self._at = name, lines, 0

    def read(self) -> tuple[str, list[Turn]]:
        turns, title, system = list[Turn](), self._line().removeprefix("# "), ""
        while self._at < len(self._lines):
            line, self._at = self._line(), self._at + 1
            if line == _SYSTEM:
                system = self._quotation()
            elif line == _NO_SYSTEM:
                system = ""
            elif asked := _ASKED.fullmatch(line):
                turns.append(self._turn(asked, system, turns[-1].id if turns else "", len(turns)))
        if not turns:
            raise BadInput(f"{self._name}: there is no question in this conversation.")
        return title, turns

    def _turn(self, asked: re.Match[str], system: str, parent: str, number: int) -> Turn:
        user, minute, raw = asked.groups()
        try:
            when = to_ms(datetime.strptime(f"{minute}+0000", "%Y-%m-%d %H:%M%z")) + number
        except ValueError as error:
            raise self._odd(f"“{minute}” is no time", -1) from error
        question = self._quotation()
        self._blank()
        if not (ref := self._line()).startswith("## "):
            raise self._odd("here must be “## ” with the version that answered")
        self._at += 1
        answer = self._answer()
        state: State = "done" if answer else "stopped"
        return Turn(
            question, ref[3:], system, parent=parent, user=user, when=max(when, number), raw=bool(raw), answer=answer,
            state=state, finish_reason="stop" if answer else "",
        )  # fmt: skip

    def _answer(self) -> str:
        begin = self._at
        self._blank()
        while self._line() != _END:
            self._at += 1
            if self._at >= len(self._lines) or _ASKED.fullmatch(self._line()):
                raise self._odd(f"the answer that begins here has no “{_END}”", begin - self._at)
        return "\n".join(map(_unescaped, self._lines[begin + 1 : self._at - 1]))

    def _quotation(self) -> str:
        self._blank()
        begin = self._at
        while self._line().startswith(">"):
            self._at += 1
        if begin == self._at:
            raise self._odd("here must be a quotation, of which each line begins with “>”")
        quoted = self._lines[begin : self._at]
        return "\n".join(line[2:] if line.startswith("> ") else line[1:] for line in quoted)

    def _blank(self) -> None:
        if self._line():
            raise self._odd("this line must be empty")
        self._at += 1

    def _line(self) -> str:
        return self._lines[self._at] if self._at < len(self._lines) else ""

    def _odd(self, what: str, away: int = 0) -> BadInput:
        return BadInput(f"{self._name}, line {self._at + away + 1}: {what}, as in an exported conversation.")
