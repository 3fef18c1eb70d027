"""Linux's Landlock: which files a process may still reach. By ctypes, because no library that is kept has its rules.

The kernel's own names: https://docs.kernel.org/userspace-api/landlock.html
"""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Iterable
from pathlib import Path

_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446  # the same on every architecture
_VERSION, _PATH_BENEATH = 1, 1
_EXECUTE, _WRITE_FILE, _READ_FILE, _READ_DIR, _TRUNCATE, _IOCTL_DEV = 1, 2, 4, 8, 1 << 14, 1 << 15
_MAKE_CHAR, _MAKE_SOCK, _MAKE_BLOCK = 1 << 6, 1 << 9, 1 << 11
_SCOPES = 3  # abstract sockets and signals of processes outside
# By the number of its interface (ABI), what a kernel can forbid: 2 has renames, 3 truncation, 5 devices.
_HANDLED = {1: (1 << 13) - 1, 2: (1 << 14) - 1, 3: (1 << 15) - 1, 4: (1 << 15) - 1}
_ALL = (1 << 16) - 1


class _Ruleset(ctypes.Structure):
    _fields_ = (("files", ctypes.c_uint64), ("net", ctypes.c_uint64), ("scoped", ctypes.c_uint64))


class _PathBeneath(ctypes.Structure):
    _pack_ = 1
    _fields_ = (("allowed", ctypes.c_uint64), ("folder", ctypes.c_int32))


def abi() -> int:
    """The number of Landlock's interface in this kernel; 0 where it has none, or has it switched off."""
    if sys.platform != "linux":
        return 0
    return max(0, int(_libc().syscall(_CREATE_RULESET, None, ctypes.c_size_t(0), _VERSION)))


def restrict(reads: Iterable[Path], writes: Iterable[Path], devices: Iterable[Path]) -> None:
    """Let this thread, and what it starts from now on, reach these files and no others. What is not there is left out.

    Args:
        reads: files, and folders with all that is in them.
        writes: folders in which everything may be done but making devices and sockets.
        devices: read, written and controlled.

    Raises:
        OSError: the kernel refuses.
    """
    version = abi()
    handled = _HANDLED.get(version, _ALL)
    attributes = _Ruleset(handled, 0, _SCOPES if version >= 6 else 0)
    size = 24 if version >= 6 else 16 if version >= 4 else 8
    rules = _checked(_libc().syscall(_CREATE_RULESET, ctypes.byref(attributes), ctypes.c_size_t(size), 0))
    try:
        for path in reads:
            _allow(rules, path, (_READ_FILE | _READ_DIR) & handled)
        for path in writes:
            _allow(rules, path, handled & ~(_EXECUTE | _MAKE_CHAR | _MAKE_SOCK | _MAKE_BLOCK | _IOCTL_DEV))
        for path in devices:
            _allow(rules, path, (_READ_FILE | _WRITE_FILE | _TRUNCATE | _IOCTL_DEV) & handled)
        _checked(_libc().syscall(_RESTRICT_SELF, rules, 0))
    finally:
        os.close(rules)


def _allow(rules: int, path: Path, rights: int) -> None:
    try:
        held = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except OSError:
        return
    if not path.is_dir():
        rights &= _READ_FILE | _WRITE_FILE | _TRUNCATE | _IOCTL_DEV
    rule = _PathBeneath(rights, held)
    _checked(_libc().syscall(_ADD_RULE, rules, _PATH_BENEATH, ctypes.byref(rule), 0))
    if not path.is_relative_to("/proc"):  # those stay open: the kernel would make them anew, which no rule names
        os.close(held)


def _checked(result: int) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"Landlock: {os.strerror(number)}")
    return result


def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)
