"""The body of a request to a model server, read as one of the forms that requests have."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from fastapi import Request
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, RootModel, ValidationError

from phi3core.serving.body import LONG, parse_body

Form = TypeVar("Form", bound=BaseModel)

# One: what parses JSON and checks it lets no other thread of the process run, and several would take turns among them.
_parser = ThreadPoolExecutor(1, thread_name_prefix="bodies")


class Inputs(RootModel[dict[str, Any]]):
    """What MLflow's own protocol takes: whatever the model does."""


async def read_body(http: Request, form: type[Form]) -> Form:
    """The body, parsed beside the event loop where that takes a while, so that other requests and answers go on.

    Raises:
        BadInput: it is no JSON, or none that any form takes.
        RequestValidationError: it is not of this form.
    """
    text = await http.body()
    if len(text) < LONG:
        return _read(text, form)
    return await asyncio.get_running_loop().run_in_executor(_parser, _read, text, form)


def _read(text: bytes, form: type[Form]) -> Form:
    body = parse_body(text)
    try:
        return form.model_validate(body)
    except ValidationError as error:
        raise RequestValidationError(error.errors(include_url=False, include_input=False)) from error
