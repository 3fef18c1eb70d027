"""Linux's seccomp: which system calls a process may still make. It covers what Landlock does not.

No process is started, none outside is signalled or read, no connection is made, of any kind, and no file's mode, owner
or times change. The filter is a program of classic BPF, which the kernel runs before each call.
"""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import struct

from .syscalls import LAST, MACHINES

_LOAD, _EQUAL, _AT_LEAST, _ANY_BIT, _AND, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x54, 0x06
_ALLOW, _KILL, _ERRNO = 0x7FFF0000, 0x80000000, 0x00050000
_NUMBER, _ARCH, _ARGUMENTS = 0, 4, 16  # offsets in what the filter is given
_THREAD = 0x10000  # CLONE_THREAD
_TRUNC = os.O_TRUNC
_STREAM = 1  # SOCK_STREAM

_FAST_OPEN = 0x20000000  # MSG_FASTOPEN: with it, sending on a stream that is not connected connects it

_NETWORK = ("socket", "connect", "bind")
_SENDS = {"sendto": 3, "sendmsg": 2, "sendmmsg": 3}  # where their flags are
_REFUSED = """
fork vfork execve execveat ptrace process_vm_readv process_vm_writev process_madvise process_mrelease kcmp tkill
pidfd_open pidfd_getfd pidfd_send_signal io_uring_setup io_uring_enter io_uring_register bpf perf_event_open
userfaultfd add_key request_key keyctl unshare setns mount umount2 pivot_root chroot open_tree move_mount fsopen
fsconfig fsmount fspick mount_setattr open_tree_attr shmget shmat shmctl semget semop semctl semtimedop msgget
msgsnd msgrcv msgctl mq_open mq_unlink inotify_init inotify_init1 inotify_add_watch fanotify_init truncate syslog
name_to_handle_at open_by_handle_at migrate_pages move_pages ioprio_set file_setattr
"""
# Landlock can't forbid these, on files that may be read. Copying a file makes such calls: they succeed, and do nothing.
_IGNORED = """
chmod fchmod fchmodat fchmodat2 chown fchown lchown fchownat utime utimes futimesat utimensat setxattr lsetxattr
fsetxattr setxattrat removexattr lremovexattr fremovexattr removexattrat
"""
# Where a process or thread is named, 0 is the caller.
_ONLY_OWN = {"kill": (0, False), "tgkill": (0, False), "rt_sigqueueinfo": (0, False), "rt_tgsigqueueinfo": (0, False)}
_OWN_OR_ZERO = {
    "prlimit64": (0, True), "sched_setparam": (0, True), "sched_setscheduler": (0, True),
    "sched_setaffinity": (0, True), "sched_setattr": (0, True),
}  # fmt: skip
_OWNER_COMMANDS = (8, 10, 15)  # fcntl's F_SETOWN, F_SETSIG, F_SETOWN_EX: a signal to whom they name
_OWNER_REQUESTS = (0x8901, 0x8902)  # ioctl's FIOSETOWN, SIOCSPGRP

_Step = tuple[int, int, int, int]  # code, jump if true, jump if false, value


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("steps", ctypes.c_char_p))


def known_machine() -> bool:
    """Whether the numbers of this processor's system calls are known here."""
    return platform.machine() in MACHINES


def restrict(network: bool) -> None:
    """Refuse all of it to this thread and what it starts from now on. Needs prctl's no_new_privs.

    Args:
        network: sockets may be made and connected.

    Raises:
        OSError: the kernel refuses.
    """
    steps = b"".join(struct.pack("=HBBI", *step) for step in _steps(network))
    program = _Program(len(steps) // 8, steps)
    if ctypes.CDLL(None, use_errno=True).prctl(22, 2, ctypes.byref(program), 0, 0):  # PR_SET_SECCOMP, MODE_FILTER
        number = ctypes.get_errno()
        raise OSError(number, f"seccomp: {os.strerror(number)}")


def _steps(network: bool) -> list[_Step]:
    arch, numbers = MACHINES[platform.machine()]
    steps: list[_Step] = [(_LOAD, 0, 0, _ARCH), (_EQUAL, 1, 0, arch), (_RETURN, 0, 0, _KILL)]
    steps += [(_LOAD, 0, 0, _NUMBER), (_AT_LEAST, 0, 1, LAST), _answer(errno.ENOSYS)]  # the other x86 calls, too

    def block(name: str, *body: _Step) -> None:
        if name in numbers:
            steps.extend([(_EQUAL, 0, len(body), numbers[name]), *body])

    for name in [*_REFUSED.split(), *(() if network else _NETWORK)]:
        block(name, _answer(errno.EPERM))
    for name in _IGNORED.split():
        block(name, _answer(0))
    for name in ("clone3", "openat2"):  # their arguments are in memory: libraries go on with the older calls
        block(name, _answer(errno.ENOSYS))
    block("clone", _argument(0), (_ANY_BIT, 1, 0, _THREAD), _answer(errno.EPERM), _ALLOWED)
    for name, (place, zero) in (_ONLY_OWN | _OWN_OR_ZERO).items():
        own: list[_Step] = [(_EQUAL, 1, 0, os.getpid()), _answer(errno.EPERM), _ALLOWED]
        block(name, _argument(place), *([(_EQUAL, 2, 0, 0)] if zero else []), *own)
    only_self: list[_Step] = [(_EQUAL, 1, 0, 0), _answer(errno.EPERM)]  # of a process, and that is the caller
    block("setpriority", _argument(0), *only_self, _argument(1), *only_self, _ALLOWED)
    for name, place in (("open", 1), ("openat", 2)):  # older kernels let a file be emptied that may only be read
        flags: list[_Step] = [(_AND, 0, 0, _TRUNC | os.O_ACCMODE), (_EQUAL, 0, 1, _TRUNC), _answer(errno.EPERM)]
        block(name, _argument(place), *flags, _ALLOWED)
    for name, refused in (("fcntl", _OWNER_COMMANDS), ("ioctl", _OWNER_REQUESTS)):
        tests: list[_Step] = [step for value in refused for step in ((_EQUAL, 0, 1, value), _answer(errno.EPERM))]
        block(name, _argument(1), *tests, _ALLOWED)
    if not network:  # asyncio wakes itself through such a pair; of another type it could write to any socket by name
        block("socketpair", _argument(1), (_AND, 0, 0, 0xF), (_EQUAL, 1, 0, _STREAM), _answer(errno.EPERM), _ALLOWED)
        for name, place in _SENDS.items():  # the socket that it listens on, once it is shut down, could connect so
            block(name, _argument(place), (_ANY_BIT, 0, 1, _FAST_OPEN), _answer(errno.EPERM), _ALLOWED)
    return [*steps, _ALLOWED]


_ALLOWED: _Step = (_RETURN, 0, 0, _ALLOW)


def _answer(number: int) -> _Step:
    return (_RETURN, 0, 0, _ERRNO | number)


def _argument(place: int) -> _Step:
    """Load the lower half of an argument, which is all that the kernel looks at in these calls."""
    return (_LOAD, 0, 0, _ARGUMENTS + 8 * place)
