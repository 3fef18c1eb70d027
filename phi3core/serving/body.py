"""The JSON body of a request, whoever sent it: what can't be read is refused before anything else looks at it."""

from __future__ import annotations

import json
from typing import Any

from phi3core.errors import BadInput

_DEEPEST = 100  # lists and objects in one another; a JSON schema that people write has ten
_MOST = 20_000  # of them in all: as messages each takes ten microseconds, while others wait
LONG = 100_000
"""Bytes of a body that takes a millisecond to parse: a longer one is parsed beside the event loop."""

_HALF = "holds half of a character (a lone surrogate, as a text that was cut in two leaves it)"


class RequestError(BadInput):
    """A request that is refused because of one parameter."""

    def __init__(self, message: str, param: str | None, code: str = "invalid_value") -> None:
        super().__init__(message)
        self.param, self.code = param, code


def parse_body(text: bytes) -> dict[str, Any]:
    """The object that a request holds. Raises BadInput for what is no JSON, or none of an object; see `check_body`."""
    try:
        body = json.loads(text)
    except RecursionError as error:
        raise _too_deep() from error
    except ValueError as error:
        raise BadInput(f"The request is no JSON: {error}.") from error
    if not isinstance(body, dict):
        raise BadInput("The request must be a JSON object.")
    check_body(body)
    return body


def check_body(body: Any) -> None:
    """Raise RequestError for text that is no valid Unicode, or for what is nested too deep.

    Neither could be passed on: UTF-8 has no halves of characters, and what reads JSON calls itself for every level.
    """
    waiting: list[tuple[str, Any, int]] = [("", body, 0)]
    found = 0
    while waiting:
        place, value, depth = waiting.pop()
        if isinstance(value, str):
            if not _is_unicode(value):
                raise RequestError(f"{place or 'The request'} is not valid Unicode: it {_HALF}.", place or None)
            continue
        if not isinstance(value, dict | list):
            continue
        if depth == _DEEPEST:
            raise _too_deep()
        found += 1
        if found > _MOST:
            raise BadInput(f"The request holds too many lists and objects: {_MOST:,} are the most.")
        if isinstance(value, list):
            held = (item for item in enumerate(value) if isinstance(item[1], str | dict | list))
            waiting += [(f"{place}[{number}]", item, depth + 1) for number, item in held]
            continue
        for name, item in value.items():
            if not _is_unicode(name):
                where = f"A name in {place}" if place else "A name in the request"
                raise RequestError(f"{where} is not valid Unicode: it {_HALF}.", place or None)
            waiting.append((f"{place}.{name}" if place else name, item, depth + 1))


def _is_unicode(text: str) -> bool:
    if text.isascii():
        return True
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _too_deep() -> BadInput:
    return BadInput(f"The request is nested too deep: {_DEEPEST} lists and objects in one another are the most.")
