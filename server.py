"""The app server: the pages and /v1 on one port, and the life of what they start. Run by ``streamlit run server.py``.

The model servers live as long as this process; builds too, which end when it does.
"""

import importlib
import os
import signal
import sys
import threading
import traceback
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any, NoReturn

import streamlit as st
from starlette.middleware import Middleware
from streamlit.auth_util import get_cookie_with_chunks
from streamlit.proto.AuthRedirect_pb2 import AuthRedirect
from streamlit.proto.BackMsg_pb2 import BackMsg
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg
from streamlit.runtime import get_instance
from streamlit.runtime.memory_uploaded_file_manager import MemoryUploadedFileManager
from streamlit.runtime.pages_manager import PagesManager
from streamlit.web.server.starlette.starlette_app_utils import decode_signed_value

from phi3core.access.login import allowed_hosts, load_login
from phi3core.access.loopback_only import LOOPBACK, check_app_address
from phi3core.cell import cell
from phi3core.cell.own_folder import remove_left
from phi3core.chat import history
from phi3core.chat.response_history import ResponseHistory
from phi3core.errors import Phi3Error
from phi3core.evaluation import jobs as evaluations
from phi3core.evaluation.benchmarks import jobs as benchmarks
from phi3core.log_records import clean_log_records
from phi3core.parent_process import on_parent_exit
from phi3core.private_files import make_all_private
from phi3core.promotion.code_trust import is_trusted
from phi3core.registry.index import get_index
from phi3core.serving.gateway.door import Door
from phi3core.serving.gateway.front import Front, send_at_once
from phi3core.serving.gateway.routes import Gateway
from phi3core.serving.gateway.safe_headers import SafeHeaders
from phi3core.serving.gateway.uploads import UploadLimit
from phi3core.serving.pool import pool
from phi3core.settings import load_settings

# Streamlit takes a folder named pages/ for its old automatic pages until st.navigation has run once, and greets
# the first visitor of a deep link with “Page not found”. It is switched off here, before the first visit.
PagesManager.uses_pages_directory = False


def refuse(why: str) -> NoReturn:
    """End before the first visit; an exception would show as Starlette's traceback."""
    print(why, file=sys.stderr, flush=True)
    os._exit(1)


try:
    config = load_settings()
    login = load_login(config)
    gateway = Gateway(config)
except Phi3Error as error:
    refuse(str(error))
clean_log_records()
os.umask(0o077)  # what is written from now on, by children too, is this user's alone; so is what is there
if left := make_all_private(config.home):
    print(f"Other users of this machine may read {left[0]} and {len(left) - 1} more: it belongs to another user.")


@asynccontextmanager
async def lifespan(_: st.App) -> AsyncIterator[None]:
    try:
        check_app_address(config, st.get_option("server.address"))
    except Phi3Error as error:
        refuse(str(error))
    if os.environ.get("PHI3_STOP_WITH_STDIN"):
        on_parent_exit(lambda: os.kill(os.getpid(), signal.SIGTERM))
    send_at_once(st.get_option("server.port"))
    if why := cell.why_none():
        print(f"Models run without a cell here: {why}. See docs/security.md.", file=sys.stderr, flush=True)
    threading.Thread(target=remove_left, daemon=True).start()
    servers = pool(config, is_trusted)
    await gateway.start(servers, ResponseHistory(config, servers))
    _before_the_end(gateway.hang_up)
    servers.warm()
    # Before any thread needs it: two that import it at once see each other's halves, and no page works any more.
    importlib.import_module("mlflow")
    history.start_sending(config)
    get_index(config).start()
    yield
    evaluations.stop_all()
    benchmarks.stop_all()
    get_index(config).stop()
    await gateway.stop()
    servers.close()
    history.flush(config, 3)


def _before_the_end(act: Callable[[], None]) -> None:
    """Have it done when a signal ends the server, before it waits for the responses that are being sent."""
    for number in (signal.SIGINT, signal.SIGTERM):
        ours = signal.getsignal(number)

        def handle(got: int, frame: Any, ours: Any = ours) -> None:
            act()
            ours(got, frame)

        if callable(ours):
            signal.signal(number, handle)


def unexpected(error: Exception) -> bool:
    """A bug of ours: a sentence instead of Streamlit's box, which offers to send it to search engines."""
    log = load_settings().logs / "app.log"
    traceback.print_exception(error)
    st.error(
        f"Something went wrong that should not have ({type(error).__name__}). Reload the page; if it stays, the end of "
        f"{log} says what it was.",
        icon=":material/error:",
    )
    return True


def readable(message: bytes) -> bool:
    """Whether Streamlit can read what a page sent."""
    try:
        BackMsg().ParseFromString(message)
    except Exception:  # protobuf's DecodeError, as Streamlit catches it too
        return False
    return True


RELOAD = ForwardMsg(auth_redirect=AuthRedirect(url="")).SerializeToString()
"""A redirection to the address that a page is at."""


def read_cookie(cookies: Mapping[str, str], name: str) -> bytes | None:
    """What a cookie of the sign-in holds, as Streamlit verifies and reads it; None where there is none to be had."""
    secret = login.cookie_secret if login else ""
    decode = lambda part: decode_signed_value(secret, part, cookies.get(part, ""))  # noqa: E731
    return get_cookie_with_chunks(decode, name)


def count_uploaded(page: str) -> int:
    """Bytes in memory of what an open page uploaded."""
    manager = get_instance().uploaded_file_mgr
    assert isinstance(manager, MemoryUploadedFileManager)
    return sum(len(file.data) for file in [*manager.file_storage.get(page, {}).values()])


app = st.App(
    "app.py",
    lifespan=lifespan,
    routes=gateway.routes(),
    middleware=[
        Middleware(SafeHeaders, secure=bool(login and login.over_https)),
        Middleware(Front, hosts=LOOPBACK | allowed_hosts(config), readable=readable),
        *([Middleware(Door, settings=config, login=login, read=read_cookie, reload=RELOAD)] if login else []),
        Middleware(UploadLimit, held=count_uploaded),
    ],
    # Streamlit's own way to find them knows no PHI3_SECRETS.
    secrets={"auth": login.for_streamlit()} if login else None,
    on_script_error=unexpected,
)
