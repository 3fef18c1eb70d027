"""The child process of pool.py: a model server that is told what to serve after it has started.

It imports what every model server needs, listens on a free loopback port, prints ``{"port": N}`` and reads one
line of JSON from standard input: {"ref", "names", "artifact": folder, "log", "trusted": load pickles, "code": run code,
"parallel", "queue", "strict", "local": see app.py, "key": of its clients, "folder": the one in which it may write,
"environment", "cell": {"network", "memory", "file_size"} or null}. Then it shuts itself in (phi3core/cell), loads and
serves. It ends when standard input closes, whatever it is doing.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import sys
from pathlib import Path
from typing import Any

from phi3core.cell import cell
from phi3core.engine.interface import Engine
from phi3core.errors import Phi3Error, ServerError
from phi3core.garbage import import_libraries
from phi3core.parent_process import on_parent_exit

from .app import bind_socket, create_app, run_app

# Not torch, transformers and mlflow: they take seconds and hundreds of megabytes, and most versions need none.
_AHEAD = ("numpy", "onnx", "onnxruntime_genai", "phi3core.engine.tokens", "phi3core.engine.onnx")
_NO_MEMORY = re.compile(r"MemoryError|bad_alloc|out of memory|(failed|can't|cannot|unable) to allocate", re.IGNORECASE)


def main() -> None:
    """Serve what the parent says."""
    host, port = sys.argv[1:3] or ("127.0.0.1", "0")
    sock = bind_socket(host, int(port))
    _be_called("phi3-spare")
    import_libraries(*_AHEAD)
    print(json.dumps({"port": sock.getsockname()[1]}), flush=True)
    order = _order()
    _settle(order)
    _shut_in(order)
    on_parent_exit(lambda: _end(order))
    app = create_app(
        lambda: load(order),
        order["names"],
        order["key"],
        order["local"],
        parallel=order["parallel"],
        queue=order["queue"],
        on_hung=_hung,
        strict=order["strict"],
    )
    run_app(app, sock)


def _hung() -> None:
    print(
        "The model does not come back from an answer that was given up: its process ends.", file=sys.stderr, flush=True
    )
    os._exit(1)


def load(order: dict[str, Any]) -> Engine:
    """The engine of the version."""
    from phi3core.engine.loader import open_artifact

    try:
        return open_artifact(Path(order["artifact"]), order["trusted"], order["code"])
    except (MemoryError, Phi3Error) as error:
        if any(_NO_MEMORY.search(repr(one)) for one in (error, error.__cause__)):
            raise ServerError(
                f"Memory ran out while {order['ref']} was loading. Close other programs, or open a smaller version."
            ) from error
        raise


def _shut_in(order: dict[str, Any]) -> None:
    """Enter the cell, before there is another thread and before anything of the model is read."""
    os.environ.clear()
    os.environ.update(order["environment"])
    os.chdir(order["folder"])
    if (limits := order["cell"]) is None:
        return
    try:
        cell.enter(cell.Cell((Path(order["artifact"]),), Path(order["folder"]), **limits))
    except ServerError as error:
        print(error, file=sys.stderr, flush=True)
        os._exit(1)


def _end(order: dict[str, Any]) -> None:
    shutil.rmtree(order["folder"], ignore_errors=True)  # its parent does it, unless that was killed
    os._exit(0)  # not sys.exit: a generation may be running in another thread, and its client has ended


def _order() -> dict[str, Any]:
    """The line from the parent; ends the process when there will be none."""
    line = b""
    while not line.endswith(b"\n"):
        # Not sys.stdin, whose buffer would keep the end of the pipe from on_parent_exit.
        piece = os.read(0, 65536)
        if not piece:
            os._exit(0)
        line += piece
    order: dict[str, Any] = json.loads(line)
    return order


def _settle(order: dict[str, Any]) -> None:
    """What this process becomes with its order: a log of its own, and the first to go."""
    log = os.open(order["log"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    os.dup2(log, 2)
    os.close(log)
    _be_called(order["ref"])
    with contextlib.suppress(OSError):  # where memory runs out, Linux is to kill this process and not the app
        Path("/proc/self/oom_score_adj").write_text("500")


def _be_called(name: str) -> None:
    """For people who look at processes: what top shows, on Linux. The system cuts it to 15 bytes."""
    with contextlib.suppress(OSError):
        Path("/proc/self/comm").write_text(name)


if __name__ == "__main__":
    main()
