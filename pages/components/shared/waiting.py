"""Waiting for the store without holding up the reader: a click elsewhere ends the wait."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future, wait
from typing import TypeVar

import streamlit as st

T = TypeVar("T")


def patiently(words: str, function: Callable[..., T], *arguments: object) -> T:
    """What a slow function gives, with a spinner once it takes a moment; its errors are raised here.

    The function runs in a thread of its own and must not draw.
    """
    future: Future[T] = Future()
    threading.Thread(target=_fill, args=(future, function, arguments), daemon=True).start()
    # There, slow or not: a live part that still runs from the draw before would write over what has moved.
    beat = st.empty()
    wait([future], 0.2)
    if not future.done():
        with st.spinner(words):
            while not future.done():
                wait([future], 0.2)
                beat.empty()  # Streamlit lets go of a script only where it draws
    return future.result()


def _fill(future: Future[T], function: Callable[..., T], arguments: tuple[object, ...]) -> None:
    try:
        future.set_result(function(*arguments))
    except BaseException as error:  # told to whoever waits
        future.set_exception(error)
