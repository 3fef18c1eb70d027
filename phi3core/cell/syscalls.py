"""The numbers of Linux's system calls that a cell refuses or limits, by name, for x86-64 and 64-bit ARM.

Names and numbers are the kernel's (asm/unistd_64.h, asm-generic/unistd.h); those from 424 on are the same everywhere.
"""

from __future__ import annotations

LAST = 470
"""Calls from here on are newer than this list: a cell answers as a kernel that does not have them."""

_EVERYWHERE = """
pidfd_send_signal 424 io_uring_setup 425 io_uring_enter 426 io_uring_register 427 open_tree 428 move_mount 429
fsopen 430 fsconfig 431 fsmount 432 fspick 433 pidfd_open 434 clone3 435 openat2 437 pidfd_getfd 438
process_madvise 440 mount_setattr 442 process_mrelease 448 fchmodat2 452 setxattrat 463 removexattrat 466
open_tree_attr 467 file_setattr 469
"""
_X86 = """
open 2 ioctl 16 shmget 29 shmat 30 shmctl 31 socket 41 connect 42 sendto 44 sendmsg 46 bind 49 socketpair 53 clone 56
fork 57 vfork 58 execve 59 kill 62 semget 64 semop 65 semctl 66 msgget 68 msgsnd 69 msgrcv 70 msgctl 71 fcntl 72
truncate 76 chmod 90 fchmod 91 chown 92 fchown 93 lchown 94 ptrace 101 syslog 103 rt_sigqueueinfo 129 utime 132
setpriority 141 sched_setparam 142 sched_setscheduler 144 pivot_root 155 chroot 161 mount 165 umount2 166 setxattr 188
lsetxattr 189 fsetxattr 190 removexattr 197 lremovexattr 198 fremovexattr 199 tkill 200 sched_setaffinity 203
semtimedop 220 tgkill 234 utimes 235 mq_open 240 mq_unlink 241 add_key 248 request_key 249 keyctl 250 ioprio_set 251
inotify_init 253 inotify_add_watch 254 migrate_pages 256 openat 257 fchownat 260 futimesat 261 fchmodat 268
unshare 272 move_pages 279 utimensat 280 inotify_init1 294 rt_tgsigqueueinfo 297 perf_event_open 298 fanotify_init 300
prlimit64 302 name_to_handle_at 303 open_by_handle_at 304 sendmmsg 307 setns 308 process_vm_readv 310
process_vm_writev 311 kcmp 312 sched_setattr 314 bpf 321 execveat 322 userfaultfd 323
"""
_ARM = """
setxattr 5 lsetxattr 6 fsetxattr 7 removexattr 14 lremovexattr 15 fremovexattr 16 fcntl 25 inotify_init1 26
inotify_add_watch 27 ioctl 29 ioprio_set 30 umount2 39 mount 40 pivot_root 41 truncate 45 chroot 51 fchmod 52
fchmodat 53 fchownat 54 fchown 55 openat 56 utimensat 88 unshare 97 syslog 116 ptrace 117 sched_setparam 118
sched_setscheduler 119 sched_setaffinity 122 kill 129 tkill 130 tgkill 131 rt_sigqueueinfo 138 setpriority 140
mq_open 180 mq_unlink 181 msgget 186 msgctl 187 msgrcv 188 msgsnd 189 semget 190 semctl 191 semtimedop 192 semop 193
shmget 194 shmctl 195 shmat 196 socket 198 socketpair 199 bind 200 connect 203 sendto 206 sendmsg 211 add_key 217
request_key 218 keyctl 219 clone 220 execve 221 migrate_pages 238 move_pages 239 rt_tgsigqueueinfo 240
perf_event_open 241 prlimit64 261 fanotify_init 262 name_to_handle_at 264 open_by_handle_at 265 setns 268 sendmmsg 269
process_vm_readv 270 process_vm_writev 271 kcmp 272 sched_setattr 274 bpf 280 execveat 281 userfaultfd 282
"""


def _numbers(text: str) -> dict[str, int]:
    words = (text + _EVERYWHERE).split()
    return {name: int(number) for name, number in zip(words[::2], words[1::2], strict=True)}


MACHINES = {"x86_64": (0xC000003E, _numbers(_X86)), "aarch64": (0xC00000B7, _numbers(_ARM))}
"""By the machine's name as ``platform.machine`` gives it: the kernel's mark of its calls (AUDIT_ARCH), and their
numbers."""
