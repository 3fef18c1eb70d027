"""The app server: the pages, and the life of what they start. Run by ``streamlit run server.py``.

The model servers live as long as this process; builds too, which end when it does.
"""

import os
import signal
import sys
import traceback
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import streamlit as st
from streamlit.runtime.pages_manager import PagesManager

from phi3core import settings
from phi3core.parent import when_parent_ends
from phi3core.serving.guard import LOOPBACK
from phi3core.serving.pool import pool

# Streamlit takes a folder named pages/ for its old automatic pages until st.navigation has run once, and greets
# the first visitor of a deep link with “Page not found”. It is told here, before anybody can come.
PagesManager.uses_pages_directory = False


@asynccontextmanager
async def lifespan(_: st.App) -> AsyncIterator[None]:
    address = st.get_option("server.address")
    if address not in LOOPBACK:
        where = address or "every address"
        print(
            f"Listening on {where} would let everybody in: the playground has no login yet. "
            "Start it with --server.address=127.0.0.1.",
            file=sys.stderr,
            flush=True,
        )
        os._exit(1)  # an exception would reach the reader as Starlette's traceback
    config = settings.load()
    if os.environ.get("PHI3_STOP_WITH_STDIN"):
        when_parent_ends(lambda: os.kill(os.getpid(), signal.SIGTERM))
    yield
    pool(config).close()


def unexpected(error: Exception) -> bool:
    """A bug of ours: a sentence instead of Streamlit's box, which offers to send it to search engines."""
    log = settings.load().logs / "app.log"
    traceback.print_exception(error)
    st.error(
        f"Something went wrong that should not have ({type(error).__name__}). Reload the page; if it stays, the end of "
        f"{log} says what it was.",
        icon=":material/error:",
    )
    return True


app = st.App("app.py", lifespan=lifespan, on_script_error=unexpected)
