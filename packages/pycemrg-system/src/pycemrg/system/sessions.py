"""The processes of a session: which ones live, and ending them.

A command is started as the leader of a session of its own. Everything that it starts belongs to
that session, whatever its process group, unless it calls ``setsid`` itself.
"""

import os
import signal
from contextlib import suppress
from pathlib import Path

PROC = Path("/proc")
_ENDED = (b"Z", b"X")
_THREADS = 13  # where, after the session, the number of threads is


def living(session: int) -> list[int]:
    """Return the process ids of a session whose processes have not ended.

    Empty on a system without ``/proc``.
    """
    if not PROC.is_dir():
        return []
    with os.scandir(PROC) as entries:
        pids = [int(entry.name) for entry in entries if entry.name.isdigit()]
    return [pid for pid in pids if _lives_in(pid, session)]


def terminate(session: int) -> None:
    """Send SIGTERM to the process group of the session's leader.

    To no more than the group: a leader such as mpirun ends the ranks that it gave groups of their
    own. The leader must not have been waited for, or the number may be another's.
    """
    with suppress(ProcessLookupError, PermissionError):
        if hasattr(os, "killpg"):
            os.killpg(session, signal.SIGTERM)
        else:
            os.kill(session, signal.SIGTERM)


def kill(session: int) -> list[int]:
    """Send SIGKILL to everything that lives in a session; return which processes these were.

    Without ``/proc`` only the group of the leader can be reached, and nobody is returned.
    """
    if hasattr(os, "killpg") and not PROC.is_dir():
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(session, signal.SIGKILL)
    alive = living(session)
    for pid in alive:
        # Gone by now, or a setuid program that this user may not end.
        with suppress(ProcessLookupError, PermissionError):
            os.kill(pid, signal.SIGKILL)
    return alive


def _lives_in(pid: int, session: int) -> bool:
    """Read ``/proc/PID/stat``: pid (name) state ppid pgrp session ...; see proc_pid_stat(5)."""
    try:
        # Some fifty times cheaper than reading a file, and it does not give way to other threads.
        if os.getsid(pid) != session:
            return False
        stat = (PROC / str(pid) / "stat").read_bytes()
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        return False
    # The name may hold blanks and parentheses; the last one closes it.
    state, _parent, _group, its_session, *rest = stat.rpartition(b")")[2].split()
    # The state is that of the main thread, which may have ended before the others.
    ended = state in _ENDED and int(rest[_THREADS]) < 2
    return int(its_session) == session and not ended
