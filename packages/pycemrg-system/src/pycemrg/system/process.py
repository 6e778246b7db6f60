"""Start a child process, follow what it does, and leave nothing of it behind."""

import math
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from logging import Logger
from pathlib import Path
from typing import IO, Any, NamedTuple

from pycemrg.system import sessions
from pycemrg.system.events import EXIT, Event, Events, listen
from pycemrg.system.streams import Sink

TERM_GRACE = 5.0
"""Seconds between SIGTERM and SIGKILL: mpirun needs some to end its ranks on other nodes."""

PIPE_GRACE = 5.0
"""Seconds that descendants may go on writing after the command itself has ended."""

KILL_LIMIT = 2.0
"""Seconds after which a process that SIGKILL does not end is left to the kernel."""

_SCAN_INTERVAL = 0.05
_KILL_INTERVAL = 0.005
_LAST_WAIT = 0.2
_LARGEST_PIPE = 1_048_576  # /proc/sys/fs/pipe-max-size, as Linux sets it
_LONGEST_WAIT = 3600.0
_MAXRSS_UNIT = 1 if sys.platform == "darwin" else 1024  # getrusage(2): bytes, KiB on Linux


class Usage(NamedTuple):
    """The exit code of a child, its peak memory in bytes and its CPU time in seconds."""

    returncode: int | None
    peak_memory: int | None
    cpu_time: float | None


class Ended(NamedTuple):
    """How a child process ended.

    Attributes:
        returncode: The exit code, negative for a signal; None if something else in this process
            has waited for the child and taken it.
        timed_out: Whether it was ended because its time was over.
        duration: Seconds from start to end.
        peak_memory: The largest resident size, in bytes, of the child or one of its descendants;
            None if unknown.
        cpu_time: Seconds of CPU time, user and system, with descendants; None if unknown.
    """

    returncode: int | None
    timed_out: bool
    duration: float
    peak_memory: int | None
    cpu_time: float | None


class NotStartedError(Exception):
    """The system could not start a program; tells its OSError from one that a sink raises."""

    def __init__(self, reason: OSError) -> None:
        super().__init__(str(reason))
        self.reason = reason


def run(
    argv: Sequence[str],
    *,
    stdout: Sink | int,
    stderr: Sink | int,
    stdin: IO[bytes] | int = subprocess.DEVNULL,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    pass_fds: Sequence[int] = (),
    timeout: float | None = None,
    sweep: bool = False,
    logger: Logger,
) -> Ended:
    """Run a program in a session of its own until it ends, and see that it does.

    If the time is over, or an exception (also KeyboardInterrupt, also one from a sink) passes
    through, the whole session is ended: SIGTERM for the process group, then SIGKILL for whatever is
    left.

    Args:
        argv: The program and its arguments.
        stdout: A sink, which is called in this thread, or the descriptor of a file.
        stderr: The same for standard error.
        stdin: What the program reads.
        cwd: The folder to run in.
        env: The whole environment, or None for that of this process.
        pass_fds: More descriptors that the program inherits.
        timeout: Seconds.
        sweep: Whether processes that the program has left behind are ended, too, if they do not
            hold its output.
        logger: Is told about processes that had to be ended.

    Raises:
        NotStartedError: If the program cannot be started.
    """
    own_peak = _own_peak_memory()
    started = time.monotonic()
    pipes: dict[str, Sink] = {}
    process = _start(
        argv,
        stdin=stdin,
        stdout=_target("stdout", stdout, pipes),
        stderr=_target("stderr", stderr, pipes),
        cwd=cwd,
        env=env,
        pass_fds=pass_fds,
    )
    try:
        events = listen(process, {name: getattr(process, name) for name in pipes})
    except BaseException:
        with process:  # closes the pipes and waits
            process.kill()
        raise
    child = _Child(process, argv[0], events, pipes, logger)
    timed_out = child.follow(math.inf if timeout is None else started + timeout, sweep)
    returncode, peak, cpu_time = child.usage
    peak = peak if peak is not None and peak > own_peak else None
    return Ended(returncode, timed_out, time.monotonic() - started, peak, cpu_time)


def _start(argv: Sequence[str], **options: Any) -> subprocess.Popen[bytes]:
    # Never preexec_fn: with it Python forks a copy of itself instead of using vfork(2), which takes
    # half a second in a process of some gigabytes.
    group = getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0)  # Windows
    try:
        return subprocess.Popen(
            argv, bufsize=0, start_new_session=True, creationflags=group, **options
        )
    except OSError as error:
        raise NotStartedError(error) from error


def _target(name: str, where: Sink | int, pipes: dict[str, Sink]) -> int:
    if isinstance(where, int):
        return where
    pipes[name] = where
    return subprocess.PIPE


class _Child:
    """A process that has been started, until it has been waited for."""

    def __init__(
        self,
        process: subprocess.Popen[bytes],
        name: str,
        events: Events,
        sinks: Mapping[str, Sink],
        logger: Logger,
    ) -> None:
        self.usage = Usage(None, None, None)
        self._process = process
        self._pid = process.pid
        self._name = repr(name)
        self._events = events
        self._sinks = sinks
        self._logger = logger
        self._reading = set(sinks)
        self._exited = False

    def follow(self, deadline: float, sweep: bool) -> bool:
        """Follow the process to its end; return whether it had to be ended at the deadline."""
        timed_out = False
        try:
            if not self._handle_until(lambda: self._exited, deadline) and not self._has_exited():
                timed_out = True
                self._end()
            self._finish_output(0.0 if timed_out else PIPE_GRACE)
            if sweep:
                self._end_descendants("run on in the background")
        except BaseException:
            self._sinks = {}
            self._end()
            raise
        finally:
            self._events.close()
            self.usage = self._wait()
        return timed_out

    def _handle_until(self, done: Callable[[], bool], deadline: float) -> bool:
        """Take events until something is done or the deadline comes; return whether it is done."""
        while not done():
            wait = deadline - time.monotonic()
            if wait <= 0:
                return False
            event = self._events.next(min(wait, _LONGEST_WAIT))
            if event is not None:
                self._take(event)
        return True

    def _take(self, event: Event) -> None:
        if event.source == EXIT:
            self._exited = True
        elif not event.data:
            self._reading.discard(event.source)
        elif event.source in self._sinks:
            self._sinks[event.source].write(event.data)

    def _has_exited(self) -> bool:
        """Ask the system, for the event may stand behind output that is slow to handle."""
        if not hasattr(os, "waitid"):
            return self._process.poll() is not None
        try:
            flags = os.WEXITED | os.WNOWAIT | os.WNOHANG
            return os.waitid(os.P_PID, self._pid, flags) is not None
        except ChildProcessError:
            return True

    def _finish_output(self, grace: float) -> None:
        """Read what is left, and do not wait for ever for descendants that hold the pipes."""
        if self._handle_until(lambda: not self._reading, time.monotonic() + grace):
            return
        self._end_descendants("still hold its output")
        left = len(self._reading) * _LARGEST_PIPE
        while self._reading and left > 0 and (event := self._events.next(_LAST_WAIT)):
            left -= len(event.data)
            self._take(event)
        if self._reading:
            self._logger.warning(
                "%s has ended, but a process that left its session holds its output; "
                "what that writes from now on is not read",
                self._name,
            )

    def _end_descendants(self, what_they_do: str) -> None:
        if descendants := sessions.living(self._pid):
            self._logger.warning(
                "%s has ended, but processes that it started %s; ending them: %s",
                self._name,
                what_they_do,
                ", ".join(map(str, descendants)),
            )
            self._kill()

    def _end(self) -> None:
        """End the session: SIGTERM to the group, time to clean up, SIGKILL to what is left."""
        deadline = time.monotonic() + TERM_GRACE
        try:
            sessions.terminate(self._pid)
            self._handle_until(lambda: self._exited, deadline)
            while sessions.living(self._pid) and time.monotonic() < deadline:
                self._handle_until(lambda: False, time.monotonic() + _SCAN_INTERVAL)
        finally:
            self._kill()

    def _kill(self) -> None:
        """Send SIGKILL until two looks at the session, one after the other, find nobody."""
        deadline = time.monotonic() + KILL_LIMIT
        looks_without = 0
        while looks_without < 2:
            alive = sessions.kill(self._pid)
            looks_without = 0 if alive else looks_without + 1
            if alive and time.monotonic() > deadline:
                self._logger.error("%s: SIGKILL does not end %s", self._name, alive)
                return
            time.sleep(_KILL_INTERVAL)

    def _wait(self) -> Usage:
        if not hasattr(os, "waitid"):  # Windows, and macOS before Python 3.13
            return Usage(self._process.wait(), None, None)
        try:
            # What survived SIGKILL sleeps in the kernel; it must not take us along.
            flags = 0 if self._has_exited() else os.WNOHANG
            pid, status, usage = os.wait4(self._pid, flags)
        except ChildProcessError:
            self._process.returncode = 0  # or Popen would complain that the child still runs
            return Usage(None, None, None)
        if pid == 0:
            return Usage(-signal.SIGKILL, None, None)
        # Popen must not wait for this process id again: it may be somebody else's by now.
        self._process.returncode = os.waitstatus_to_exitcode(status)
        peak = usage.ru_maxrss * _MAXRSS_UNIT
        return Usage(self._process.returncode, peak, usage.ru_utime + usage.ru_stime)


def _own_peak_memory() -> int:
    """Return the peak of this process's memory, where Linux starts that of a child.

    It is that of the address space. What getrusage(2) gives is no use here: it may come from the
    process that started this one, as the child's may come from us.
    """
    try:
        status = Path("/proc/self/status").read_text(encoding="ascii", errors="replace")
    except OSError:
        return 0
    line = next((line for line in status.splitlines() if line.startswith("VmHWM:")), "VmHWM: 0")
    return int(line.split()[1]) * 1024
