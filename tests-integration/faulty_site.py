"""A web site on this machine that serves files well, or goes wrong in the way that is asked for.

And what tests of models on it share: manifests, a look into a cache, folders of others.
"""

import gzip
import http.server
import json
import os
import re
import shutil
import socket
import socketserver
import struct
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import pytest

PIECE = 1 << 16
PATIENCE = 60  # seconds after which a server that stalls gives up, should nobody end it


class Request:
    """One GET.

    Args:
        path: With its query.
        headers: By their names in lower case.

    `sent` counts the bytes of the body that went out.
    """

    def __init__(self, path: str, headers: dict[str, str]) -> None:
        self.path = path
        self.headers = headers
        self.sent = 0


class Handler(http.server.BaseHTTPRequestHandler):
    """One connection, with what the answers below need."""

    protocol_version = "HTTP/1.1"
    server: "_Server"
    seen: Request

    def do_GET(self) -> None:
        headers = {name.lower(): value for name, value in self.headers.items()}
        self.seen = Request(self.path, headers)
        answer = self.server.site.next_answer(self.seen)
        try:
            answer(self)
        except OSError:  # the client has gone
            self.close_connection = True

    def head(self, code: int, headers: dict[str, str | None]) -> None:
        """Send status and headers; those that are None are left out."""
        self.send_response_only(code)
        for name, value in {"Date": self.date_time_string(), **headers}.items():
            if value is not None:
                self.send_header(name, value)
        self.end_headers()

    def body(self, content: bytes, pause: float = 0.0) -> None:
        """Send `content` in pieces, with a pause after each."""
        for start in range(0, len(content), PIECE):
            piece = content[start : start + PIECE]
            self.wfile.write(piece)
            self.seen.sent += len(piece)
            if pause:
                time.sleep(pause)

    def hang_up(self) -> None:
        """End the connection as a server does that stops in an orderly way."""
        self.close_connection = True

    def reset(self) -> None:
        """End the connection as one that crashes."""
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.connection.close()
        self.close_connection = True

    def stall(self) -> None:
        """Say nothing more until the site closes."""
        self.server.site.closing.wait(PATIENCE)
        self.close_connection = True

    def log_message(self, *_: Any) -> None:
        pass


Answer = Callable[[Handler], None]


class _Server(socketserver.ThreadingMixIn, http.server.HTTPServer):
    daemon_threads = False  # so that server_close waits for them
    request_queue_size = 256  # a crowd comes at once
    site: "Site"

    def handle_error(self, *_: Any) -> None:
        error = sys.exception()
        if not isinstance(error, OSError):
            self.site.failures.append(error)


class Site:
    """Answers GET requests; the last of several answers to a path is given again and again.

    `requests` lists them. Every thread has ended when the block is left.
    """

    def __init__(self) -> None:
        self.requests: list[Request] = []
        self.failures: list[BaseException | None] = []
        self.closing = threading.Event()
        self._answers: dict[str, list[Answer]] = {}
        self._lock = threading.Lock()

    def __enter__(self) -> Self:
        connections = self._connections = []

        class Remembered(Handler):
            def setup(self) -> None:
                connections.append(self.request)
                super().setup()

        self._server = _Server(("127.0.0.1", 0), Remembered)
        self._server.site = self
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))
        self._thread.start()
        return self

    def __exit__(self, *_: Any) -> None:
        self.closing.set()
        self._server.shutdown()
        self._thread.join()
        for connection in self._connections:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)  # wakes who waits for one more request
        self._server.server_close()
        assert self.failures == []

    @property
    def port(self) -> int:
        return self._server.server_address[1]

    def url(self, path: str, host: str = "127.0.0.1") -> str:
        return f"http://{host}:{self.port}{path}"

    def give(self, path: str, *answers: Answer | bytes) -> str:
        """Answer requests for `path`, whatever their query, and return its URL."""
        self._answers[path] = [
            File(answer) if isinstance(answer, bytes) else answer for answer in answers
        ]
        return self.url(path)

    def next_answer(self, request: Request) -> Answer:
        with self._lock:
            self.requests.append(request)
            answers = self._answers.get(request.path.partition("?")[0], [status(404)])
            return answers.pop(0) if len(answers) > 1 else answers[0]

    def paths(self) -> list[str]:
        return [request.path for request in self.requests]

    def ranges(self) -> list[str | None]:
        """Return what the requests asked for in `Range`."""
        return [request.headers.get("range") for request in self.requests]

    def sent(self) -> int:
        """Return how many bytes of bodies went out."""
        return sum(request.sent for request in self.requests)


@dataclass(frozen=True)
class File:
    """Answers as a good web server does for a file (RFC 9110, 13.1.5 and 14), unless told not to.

    Args:
        content: All of it.
        etag: Its entity tag, in quotes.
        modified: Its `Last-Modified`.
        ranges: Whether `Range` is understood.
        conditional: Whether `If-Range` is understood; else a range is given whatever it says.
        stop: How many bytes of an answer to send before the line ends.
        end: How the line ends: a method of `Handler`.
        pause: Seconds between two pieces of 64 KiB.
        headers: Others, or the same with another value; None leaves one out.
        in_206: The same for answers that hold a part only.
        shift: How far a part begins from where it was asked for.
    """

    content: bytes
    etag: str | None = '"first"'
    modified: str | None = None
    ranges: bool = True
    conditional: bool = True
    stop: int | None = None
    end: str = "hang_up"
    pause: float = 0.0
    headers: dict[str, str | None] = field(default_factory=dict)
    in_206: dict[str, str | None] = field(default_factory=dict)
    shift: int = 0

    def __call__(self, handler: Handler) -> None:
        start = self._start(handler.seen.headers)
        size = len(self.content)
        if start is not None and start >= size:
            handler.head(416, {"Content-Range": f"bytes */{size}", "Content-Length": "0"})
            return
        part = self.content[0 if start is None else max(0, start + self.shift) :]
        headers = {"Content-Length": str(len(part)), "ETag": self.etag, **self.headers}
        headers.setdefault("Last-Modified", self.modified)
        headers.setdefault("Accept-Ranges", "bytes" if self.ranges else "none")
        if start is not None:
            headers["Content-Range"] = f"bytes {start}-{size - 1}/{size}"
            headers.update(self.in_206)
        handler.head(200 if start is None else 206, headers)
        handler.body(part[: self.stop], self.pause)
        if self.stop is not None and self.stop < len(part):
            getattr(handler, self.end)()
        elif headers["Content-Length"] != str(len(part)):
            handler.hang_up()

    def _start(self, headers: dict[str, str]) -> int | None:
        """Return where the part begins that is asked for, None if all is to be sent."""
        asked = re.fullmatch(r"bytes=(\d+)-", headers.get("range", ""))
        if not (asked and self.ranges):
            return None
        condition = headers.get("if-range")
        if self.conditional and condition not in (None, self.etag, self.modified):
            return None
        return int(asked[1])


def status(code: int, **headers: str) -> Answer:
    """Answer with nothing but a status."""
    fields = {name.replace("_", "-"): value for name, value in headers.items()}
    return lambda handler: handler.head(code, {"Content-Length": "0", **fields})


def redirect(to: str, code: int = 302) -> Answer:
    return status(code, Location=to)


def chunked(content: bytes, stop: int | None = None, last: bytes = b"") -> Answer:
    """Answer without a length, in chunks; with `stop`, the line ends after so many bytes.

    Args:
        content: All of it.
        stop: Bytes after which `last` is sent and the line ends.
        last: What to send instead of the chunk that says that all is said.
    """

    def answer(handler: Handler) -> None:
        handler.head(200, {"Transfer-Encoding": "chunked"})
        for start in range(0, len(content[:stop]), PIECE):
            piece = content[:stop][start : start + PIECE]
            handler.wfile.write(b"%x\r\n" % len(piece))
            handler.body(piece)
            handler.wfile.write(b"\r\n")
        handler.wfile.write(b"0\r\n\r\n" if stop is None else last)
        if stop is not None:
            handler.hang_up()

    return answer


def until_closed(content: bytes) -> Answer:
    """Answer as HTTP/1.0 does: no length, and the end of the line is the end of the file."""

    def answer(handler: Handler) -> None:
        handler.head(200, {"Connection": "close"})
        handler.body(content)
        handler.hang_up()

    return answer


def gzipped(content: bytes, **settings: Any) -> Answer:
    """Answer with a compressed transfer that nobody asked for."""
    headers = {"Content-Encoding": "gzip"}
    return File(gzip.compress(content, 1, mtime=0), headers=headers, **settings)


def raw(*lines: bytes) -> Answer:
    """Answer with these bytes instead of HTTP."""

    def answer(handler: Handler) -> None:
        handler.wfile.write(b"\r\n".join(lines))
        handler.hang_up()

    return answer


def reset(handler: Handler) -> None:
    """Crash before a word is said."""
    handler.reset()


def stall(handler: Handler) -> None:
    """Take the request and say nothing."""
    handler.stall()


def alone(monkeypatch: pytest.MonkeyPatch, home: Path) -> None:
    """Keep settings of the person who runs the tests away from them, and their `~/.netrc`."""
    for name in list(os.environ):
        if name.startswith("PYCEMRG_") or name == "NETRC" or name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(home))


def write_manifest(path: Path, **versions: dict[str, Any]) -> Path:
    """Write versions of a model `seg`, the first of which is the default; JSON is YAML."""
    path.write_text(json.dumps({"seg": {"default": next(iter(versions)), "versions": versions}}))
    return path


def files_in(folder: Path) -> Iterator[Path]:
    return (path for path in folder.rglob("*") if not path.is_dir())


def left_over(cache: Path) -> list[str]:
    """Return what a cache holds beside objects and locks."""
    store = cache / "store-v1"
    places = {"staging", "trash", "partial"}
    found = [path.relative_to(store) for path in store.rglob("*")]
    return [path.as_posix() for path in found if path.parts[0] in places and len(path.parts) > 1]


@contextmanager
def folder_for_all() -> Iterator[Path]:
    """Make a folder that every user may look into, outside of the private ones of pytest."""
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o755)
    try:
        yield folder
    finally:
        unlock(folder)
        shutil.rmtree(folder)


def lock_up(folder: Path) -> None:
    """Take away the right to write in `folder`; root ignores that."""
    for path in [folder, *folder.rglob("*")]:
        path.chmod(0o555 if path.is_dir() else 0o444)


def unlock(folder: Path) -> None:
    for path in [folder, *folder.rglob("*")]:
        path.chmod(0o755)
