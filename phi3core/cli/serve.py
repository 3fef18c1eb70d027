"""The servers: one version over OpenAI's protocol, and the app."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import click

from phi3core.access.api_keys import generate_key, hash_key
from phi3core.access.login import load_login
from phi3core.access.loopback_only import LOOPBACK, check_app_address, check_server_address
from phi3core.access.roles import local_person, require
from phi3core.access.sessions import end_sessions
from phi3core.cell import cell
from phi3core.errors import BadInput, Cancelled, NotFound, Phi3Error, ServerError
from phi3core.http_client import local_client
from phi3core.settings import load_settings
from phi3core.text import plural

from .build import prepare_demo
from .group import REF_HELP, main

_BESIDE = Path(__file__).resolve().parents[2]  # the checkout, or site-packages


@main.command(help=f"Serve a version over OpenAI's protocol. {REF_HELP}")
@click.argument("ref")
@click.option("--host", default="127.0.0.1", show_default=True, help="Beyond loopback an API key is needed.")
@click.option("--port", type=int, default=8000, show_default=True)
@click.option("--api-key", default=None, envvar="PHI3_API_KEY", help="Ask clients for this key.")
def serve(ref: str, host: str, port: int, api_key: str | None) -> None:
    """Serve until Ctrl-C."""
    from phi3core.hashing import folder_size
    from phi3core.promotion.code_trust import is_trusted
    from phi3core.registry import artifacts, reader
    from phi3core.registry.reference import MLFLOW_SCHEME
    from phi3core.serving import memory, spawn
    from phi3core.serving.approval import may_run
    from phi3core.serving.child.app import bind_socket
    from phi3core.serving.handle import ModelServer
    from phi3core.serving.order import make_order

    check_server_address(host, api_key)
    bind_socket(host, port).close()
    config = load_settings()
    version = reader.get_version(config, ref)
    folder = artifacts.download(config, version)
    code = may_run(config, version, folder, is_trusted)
    click.echo(f"Loading {version.ref} …")
    size = folder_size(folder)
    need = memory.needed(folder, size, version.wrapper)
    names = list(dict.fromkeys([version.ref, ref.removeprefix(MLFLOW_SCHEME)]))
    order = make_order(config, version) | {"names": names, "local": host in LOOPBACK}
    log = config.logs / f"serve-{version.name}-{version.version}-{os.getpid()}.log"
    asked = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}.get(host, host)  # noqa: S104
    # A process of its own: this one has the store's credentials, and threads that could not be shut in.
    child = spawn.Child(log, (*spawn.COMMAND, host, str(port)), api_key or "", asked)
    server = ModelServer(version, child, order, log, size, need)
    try:
        server.load(folder, code)
        server.wait_ready()
        click.echo(f"Serving {version.ref} on http://{host}:{child.port}/v1 (Ctrl-C stops)")
        while server.alive():
            time.sleep(0.2)
        raise ServerError(f"The model server ended. {server.failure()}")
    except KeyboardInterrupt:
        pass
    finally:
        child.end()


@main.command()
@click.argument("email")
def key(email: str) -> None:
    """Make a key for EMAIL to call /v1 with, and the line that lets it in."""
    if "@" not in email.strip(" @"):
        raise BadInput(f"“{email}” is no e-mail address: a key belongs to a person.")
    made = generate_key()
    click.echo(f"The key, which is shown only now:\n\n    {made}\n")
    click.echo(f"This goes below [keys] in {load_settings().secrets}; take it out again, and the key opens nothing:\n")
    click.echo(f"    {hash_key(made)} = {json.dumps(email.strip(), ensure_ascii=False)}")


@main.command("sign-out")
@click.argument("email")
def sign_out(email: str) -> None:
    """End all sign-ins of EMAIL at the pages, in open tabs too."""
    config = load_settings()
    require(local_person(config), "admin", "signing others out")
    ended = end_sessions(config, email)
    click.echo(f"{ended} {plural(ended, 'sign-in')} of {email.strip()} ended.")


@main.command()
@click.option("--port", type=int, default=8501, show_default=True)
@click.option("--address", default="127.0.0.1", show_default=True, help="Beyond loopback a login is needed.")
def app(port: int, address: str) -> None:
    """Prepare the demo and serve the pages on http://localhost:PORT. What “make run” does."""
    from phi3core.serving.child.app import bind_socket

    config = load_settings()
    login = load_login(config)
    check_app_address(config, address)
    bind_socket(address, port).close()
    log = config.logs / "app.log"
    folder = app_folder()
    command = [sys.executable, "-m", "streamlit", "run", str(folder / "server.py"), f"--server.port={port}"]
    command.append(f"--server.address={address}")
    with log.open("ab") as file:
        child = subprocess.Popen(
            command,
            cwd=folder,
            stdin=subprocess.PIPE,
            stdout=file,
            stderr=subprocess.STDOUT,
            # It works in another folder, where a relative path would name another file.
            env={**os.environ, "PHI3_STOP_WITH_STDIN": "1", "PHI3_SECRETS": str(config.secrets)},
            start_new_session=True,
        )
    try:
        try:
            prepare_demo(config)  # while the app starts: both take a second or two when there is nothing to build
        except Cancelled:
            raise
        except Phi3Error as error:
            click.echo(f"The embedded model could not be prepared: {error}", err=True)
        _wait_for(lambda: _healthy(address, port), child, log)
        own = (login.redirect_uri if login else "http://localhost:{port}").removesuffix("/oauth2callback")
        at = own.replace("{port}", str(port))  # as Streamlit reads it too
        if why := cell.why_none():
            click.echo(f"Models run without a cell here: {why}. docs/security.md says what that means.", err=True)
        click.echo(f"The playground is at {at} (Ctrl-C stops it; logs are in {config.logs}).")
        child.wait()
    except KeyboardInterrupt:
        click.echo("Stopping.")
    finally:
        _end(child)
    if child.returncode not in (0, -signal.SIGTERM, -signal.SIGINT):
        raise Phi3Error(f"The app ended unexpectedly (exit status {child.returncode}). Its log is {log}.")


def app_folder(beside: Path = _BESIDE) -> Path:
    """The folder with app.py, server.py and the pages: the checkout, else the one that was installed.

    Args:
        beside: the folder that holds phi3core.

    Raises:
        NotFound: phi3core stands alone.
    """
    for folder in (beside, beside / "phi3_playground"):
        if (folder / "server.py").is_file() and (folder / "pages").is_dir():
            return folder
    raise NotFound(
        f"The pages are not here: {beside} holds no app. Install phi3-playground with pip, or run this in its checkout."
    )


def _healthy(address: str, port: int) -> bool:
    import httpx2

    host = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}.get(address, address)  # noqa: S104
    at = f"[{host}]" if ":" in host else host
    try:
        return local_client().get(f"http://{at}:{port}/_stcore/health", timeout=2).status_code == 200
    except httpx2.HTTPError:  # it does not listen yet
        return False


def _wait_for(ready: Callable[[], bool], child: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + 60
    while not ready():
        if child.poll() is not None:
            last = (log.read_text(errors="replace").strip().splitlines() or ["it said nothing"])[-1]
            raise Phi3Error(f"The app could not start: {last} Its log is {log}.")
        if time.monotonic() > deadline:
            raise Phi3Error(f"The app did not answer within 60 s. Its log is {log}.")
        time.sleep(0.1)


def _end(child: subprocess.Popen[bytes]) -> None:
    """The app's children end with it."""
    child.terminate()
    try:
        child.wait(10)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()
