"""What a running child process does, one event after the other: it writes, it closes, it ends."""

import os
import queue
import select
import subprocess
import threading
from collections import deque
from collections.abc import Mapping
from contextlib import suppress
from typing import IO, NamedTuple, Protocol

READ_SIZE = 65_536
"""Bytes asked for at once; what a pipe holds on Linux unless somebody enlarges it."""

EXIT = "exit"


class Event(NamedTuple):
    """Data from the stream `source`, its end (no data), or the end of the process (``"exit"``)."""

    source: str
    data: bytes = b""


class Events(Protocol):
    """A source of events."""

    def next(self, timeout: float) -> Event | None:
        """Return the next event, or None if nothing happens within `timeout` seconds."""
        ...

    def close(self) -> None:
        """Stop listening; whoever still writes to the pipes finds nobody there."""
        ...


def listen(process: subprocess.Popen[bytes], pipes: Mapping[str, IO[bytes]]) -> Events:
    """Listen to a child process and to the pipes that it writes to, by their names.

    The process is not waited for: its process id stays its own until the caller does that.
    """
    if hasattr(os, "pidfd_open"):
        try:
            return PolledEvents(process, pipes, os.pidfd_open(process.pid))
        except OSError:  # a kernel before 5.3, or a container that forbids the call
            pass
    return ThreadedEvents(process, pipes)


class PolledEvents:
    """Events by poll(2), in the thread that asks for them. Linux only.

    Threads would cost another 40 to 60 % of the time that it takes to start a small program.
    """

    def __init__(
        self, process: subprocess.Popen[bytes], pipes: Mapping[str, IO[bytes]], process_fd: int
    ) -> None:
        self._poll = select.poll()
        self._process_fd = process_fd
        self._pipes = {pipe.fileno(): (name, pipe) for name, pipe in pipes.items()}
        self._ready: deque[int] = deque()
        for fd in (process_fd, *self._pipes):
            self._poll.register(fd, select.POLLIN)

    def next(self, timeout: float) -> Event | None:
        """Return the next event, or None if nothing happens within `timeout` seconds."""
        if not self._ready:
            self._ready.extend(fd for fd, _ in self._poll.poll(timeout * 1000))
        if not self._ready:
            return None
        fd = self._ready.popleft()
        if fd == self._process_fd:
            self._poll.unregister(fd)
            return Event(EXIT)
        return self._read(fd)

    def _read(self, fd: int) -> Event:
        name, pipe = self._pipes[fd]
        data = os.read(fd, READ_SIZE)
        if not data:
            self._poll.unregister(fd)
            del self._pipes[fd]
            pipe.close()
        return Event(name, data)

    def close(self) -> None:
        """Close the pipes that are still open."""
        os.close(self._process_fd)
        for _, pipe in self._pipes.values():
            pipe.close()


class ThreadedEvents:
    """Events from one thread for each pipe and one that waits for the process: any system."""

    def __init__(self, process: subprocess.Popen[bytes], pipes: Mapping[str, IO[bytes]]) -> None:
        self._queue: queue.Queue[Event] = queue.Queue(maxsize=16)
        self._closed = False
        self._start(self._wait, process)
        for name, pipe in pipes.items():
            self._start(self._read, name, pipe)

    def next(self, timeout: float) -> Event | None:
        """Return the next event, or None if nothing happens within `timeout` seconds."""
        try:
            return self._queue.get(timeout=max(0.0, timeout))
        except queue.Empty:
            return None

    def close(self) -> None:
        """Let the threads throw away what they still read; each ends with its pipe."""
        # A thread that waits for room must find some.
        self._closed = True
        with suppress(queue.Empty):
            while True:
                self._queue.get_nowait()

    def _start(self, target: object, *args: object) -> None:
        threading.Thread(target=target, args=args, daemon=True).start()  # type: ignore[arg-type]

    def _put(self, event: Event) -> None:
        if not self._closed:
            self._queue.put(event)

    def _read(self, name: str, pipe: IO[bytes]) -> None:
        with pipe:
            while data := os.read(pipe.fileno(), READ_SIZE):
                self._put(Event(name, data))
        self._put(Event(name))

    def _wait(self, process: subprocess.Popen[bytes]) -> None:
        if hasattr(os, "waitid"):
            with suppress(ChildProcessError):
                os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        else:
            process.wait()
        self._put(Event(EXIT))
