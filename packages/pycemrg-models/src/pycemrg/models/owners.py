"""Which process work in progress belongs to, and whether that process has ended.

Only Linux tells. Elsewhere nothing is known of other processes, and age has to decide.
"""

import os
from pathlib import Path
from uuid import uuid4

PROC = Path("/proc")
PF_EXITING = 0x4  # linux/sched.h


def owned_name() -> str:
    """Return a new name for a folder, from which others can tell whose it is.

    It holds what no two processes have in common: the boot of the machine, the namespace of
    process numbers (a container has one of its own), the number, and when the process started.
    """
    try:
        return f"{uuid4().hex}.{_here()}-{os.getpid()}-{_started(os.getpid())}"
    except (OSError, ValueError):
        return uuid4().hex


def has_ended(name: str) -> bool | None:
    """Whether the process that gave a folder this name has ended; None if nobody here can tell.

    Example:
        >>> has_ended("0123456789abcdef") is None
        True
    """
    try:
        boot, namespace, pid, started = name.rpartition(".")[2].split("-")
        if f"{boot}-{namespace}" != _here():
            return None  # of another machine or container, of which nothing is known here
        return _started(int(pid)) != started
    except (OSError, OverflowError, ValueError):
        return None


def _here() -> str:
    boot = (PROC / "sys/kernel/random/boot_id").read_text().strip().replace("-", "")
    namespace = os.stat(PROC / "self/ns/pid").st_ino  # noqa: PTH116
    return f"{boot}-{namespace}"


def _started(pid: int) -> str:
    """Return when a process started, in clock ticks since the boot; "" if it has ended.

    Raises OSError if that cannot be known.

    Source: proc(5), fields 3, 9 and 22 of ``/proc/PID/stat``. The name of the program, field 2, may
    hold blanks and parentheses.
    """
    try:
        fields = (PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        try:
            os.kill(pid, 0)  # proc(5), hidepid: those of other users may be hidden
        except ProcessLookupError:
            return ""
        raise
    # A process that is being killed lets go of its locks before it is a zombie.
    is_ending = int(fields[6]) & PF_EXITING
    return "" if fields[0] in "ZX" or is_ending else fields[19]
