"""A cell for the process that calls `enter`: from then on it reaches what it was given, and nothing else, for good.

On Linux alone, by Landlock (files) and seccomp (system calls), neither of which needs root. docs/security.md says what
is not covered.
"""

from __future__ import annotations

import ctypes
import os
import sys
import sysconfig
import tempfile
from dataclasses import dataclass
from pathlib import Path

from phi3core.errors import ServerError

from . import landlock, seccomp

_PACKAGE = Path(__file__).resolve().parents[1]
_SYSTEM = """
/lib /lib32 /lib64 /usr/lib /usr/lib32 /usr/lib64 /usr/local/lib /usr/local/cuda /usr/local/nvidia
/usr/share /etc/ld.so.cache /etc/localtime /etc/timezone /etc/nsswitch.conf /etc/mime.types /etc/ssl/openssl.cnf
/proc/cpuinfo /proc/meminfo /proc/stat /proc/loadavg /proc/version /proc/filesystems /proc/driver/nvidia
/proc/sys/vm/overcommit_memory /proc/sys/kernel/osrelease /sys/devices/system /sys/fs/cgroup /sys/kernel/mm
/sys/module/nvidia
"""
_NETWORK = """
/etc/resolv.conf /etc/hosts /etc/host.conf /etc/gai.conf /etc/services /etc/protocols /etc/ssl /etc/pki
/etc/ca-certificates /etc/ca-certificates.conf
"""
FILE_SIZE = 1_000_000_000
"""Bytes of the largest file that a model may write, when it is served and when it is tried."""

_DEVICES = "/dev/null /dev/zero /dev/full /dev/random /dev/urandom"


@dataclass(frozen=True)
class Cell:
    """What a process may reach, besides the interpreter, the installed packages and the system's libraries.

    reads: files and folders. writes: one folder, which becomes its working folder. home: a folder in it, "" for itself,
    for what libraries keep. network: it may make connections. memory: bytes that it may take, 0 for as many as there
    are. file_size: bytes of the largest file that it may write, 0 for any.
    """

    reads: tuple[Path, ...]
    writes: Path
    home: str = ""
    network: bool = False
    memory: int = 0
    file_size: int = 0


def why_none() -> str:
    """Why there is no cell on this machine, to go on “there is no cell:”; empty where there is one."""
    if os.environ.get("PHI3_CELL", "").strip().lower() == "off":
        return "it is switched off (PHI3_CELL)"
    if sys.platform != "linux":
        return "only Linux has what it is made of"
    if not seccomp.known_machine():
        return "this processor's system calls are not known to it"
    if not landlock.abi():
        return "this kernel has no Landlock (Linux 5.13 and later have it, unless it is switched off)"
    return ""


def enter(cell: Cell) -> None:
    """Shut this process in. It can't be undone, and holds for every thread and whatever is loaded from now on.

    Raises:
        ServerError: it can't be done, and the process must not go on.
    """
    # Each thread is shut in by itself: one that is older would stay outside, and could be made to act for the others.
    if (threads := len(list(Path("/proc/self/task").iterdir()))) != 1:
        raise ServerError(f"The model's process has {threads} threads before it is shut in, and must have one.")
    os.chdir(cell.writes)
    home = str(cell.writes / cell.home)
    os.environ.update({"HOME": home, "TMPDIR": home})
    tempfile.tempdir = None  # found anew, in TMPDIR
    try:
        _set_limits(cell)
        _drop_capabilities()
        devices = [*map(Path, _DEVICES.split()), *Path("/dev").glob("nvidia*")]
        landlock.restrict([*_libraries(cell.network), *cell.reads], [cell.writes], devices)
        seccomp.restrict(cell.network)
    except OSError as error:
        raise ServerError(f"The model's process can't be shut in ({error}), so it does not load the model.") from error


def _libraries(network: bool) -> list[Path]:
    """Where Python and its packages are; not the folder that this project lies in, which may hold secrets."""
    prefixes = {Path(prefix).resolve() for prefix in (sys.prefix, sys.exec_prefix, sys.base_prefix)}
    found = [prefix / name for prefix in prefixes for name in ("lib", "lib64", "pyvenv.cfg")]
    found += [Path(entry) for entry in sys.path if Path(entry).name in ("site-packages", "dist-packages")]
    found += [Path(sysconfig.get_path(name)) for name in ("stdlib", "platstdlib")]
    # Its own folder under /proc has another name for each process; those of others stay closed.
    return [
        *found,
        _PACKAGE,
        Path(f"/proc/{os.getpid()}"),
        *map(Path, (_SYSTEM + _NETWORK if network else _SYSTEM).split()),
    ]


def _set_limits(cell: Cell) -> None:
    import resource

    limits = {resource.RLIMIT_CORE: 0}  # a dump of its memory would hold what people asked
    if cell.memory:
        limits[resource.RLIMIT_DATA] = cell.memory
    if cell.file_size:
        limits[resource.RLIMIT_FSIZE] = cell.file_size
    for name, most in limits.items():
        hard = resource.getrlimit(name)[1]
        most = most if hard == resource.RLIM_INFINITY else min(most, hard)
        resource.setrlimit(name, (most, most))


def _drop_capabilities() -> None:
    """Root's rights, where it is root, and the way to new ones."""
    libc = ctypes.CDLL(None, use_errno=True)
    header, none = (ctypes.c_uint32 * 2)(0x20080522, 0), (ctypes.c_uint32 * 6)()  # _LINUX_CAPABILITY_VERSION_3, self
    if libc.prctl(38, 1, 0, 0, 0) or libc.capset(header, none):  # PR_SET_NO_NEW_PRIVS
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
