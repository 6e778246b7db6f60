"""A web server on this machine that hands out archives fast, counts, and breaks off when told to.

It runs in a process of its own, so that its work is not counted as that of who fetches. A file of
its folder has two addresses: ``/files/NAME``, and ``/bench/models/resolve/REVISION/NAME``, which
speaks as much of the protocol of the Hugging Face Hub as ``hf_hub_download`` needs.
"""

import json
import os
import re
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType

REPOSITORY = "bench/models"
COMMIT = "c0" * 20
PATIENCE = 60  # seconds

_RANGE = re.compile(r"bytes=(\d+)-(\d*)$")
_FILE = re.compile(rf"/(?:files|(?P<hub>{REPOSITORY}/resolve/[^/]+))/(?P<name>[\w.-]+)$")


@dataclass(frozen=True)
class Counts:
    """What was asked for since the last reset: requests by method, and bytes of bodies sent.

    `held` counts the transfers that were stopped half-way and that the client has read so far.
    """

    gets: int = 0
    heads: int = 0
    sent: int = 0
    held: int = 0


class ModelServer:
    """Serves the files of a folder on 127.0.0.1 as long as the ``with`` block lasts.

    Args:
        folder: What to serve. A file ``NAME`` has its sha256, in hexadecimal, in ``NAME.sha256``.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def __enter__(self) -> "ModelServer":
        # Its standard input ends with this process, whatever happens to it, and that is its end.
        self._process = subprocess.Popen(
            [sys.executable, "-I", __file__, self._folder],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.origin = f"http://127.0.0.1:{self._answer()}"
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._process.communicate()

    def counts(self) -> Counts:
        """Give what was counted since the last reset."""
        return Counts(**json.loads(self._tell("counts")))

    def reset(self) -> None:
        """Count from 0, and serve everything whole."""
        self._tell("reset")

    def cut(self) -> None:
        """Close the connection of the next GET when half of the file was sent."""
        self._tell("cut")

    def hold(self) -> None:
        """Stop the next GET when half of the file was sent, until its client goes away."""
        self._tell("hold")

    def wait_until_held(self) -> None:
        """Wait until a client has read the half that it gets.

        Raises:
            TimeoutError: If none does.
        """
        end = time.monotonic() + PATIENCE
        while not self.counts().held:
            if time.monotonic() > end:
                raise TimeoutError(f"no client has read half of a file in {PATIENCE} s")
            time.sleep(0.01)

    def _tell(self, command: str) -> str:
        assert self._process.stdin is not None
        self._process.stdin.write(f"{command}\n")
        self._process.stdin.flush()
        return self._answer()

    def _answer(self) -> str:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"the server ended with {self._process.wait()}")
        return line.strip()


class _Served:
    """The files, what was counted, and what to do to the next GET; shared by all threads."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._changed = threading.Condition()
        self._counts: Counter[str] = Counter()
        self._busy = 0
        self._mishap = ""

    def count(self, **more: int) -> None:
        with self._changed:
            self._counts.update(more)

    @contextmanager
    def work(self, **more: int) -> Iterator[None]:
        """Count, and be busy until the block ends; who asks for the counts is kept waiting."""
        with self._changed:
            self._counts.update(more)
            self._busy += 1
        try:
            yield
        finally:
            with self._changed:
                self._busy -= 1
                self._changed.notify_all()

    def take_mishap(self) -> str:
        """Say what is to happen to this GET, once."""
        with self._changed:
            mishap, self._mishap = self._mishap, ""
            return mishap

    def obey(self, command: str) -> str:
        with self._changed:
            # A client may have all that it asked for before that is counted.
            self._changed.wait_for(lambda: not self._busy, PATIENCE)
            if command == "counts":
                return json.dumps(self._counts)
            if command == "reset":
                self._counts.clear()
            self._mishap = command if command in ("cut", "hold") else ""
            return "done"


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    served: _Served

    def do_HEAD(self) -> None:
        with self.served.work(heads=1):
            self._head()

    def do_GET(self) -> None:
        with self.served.work(gets=1):
            mishap = self._answer()
        if mishap == "hold":
            self.connection.recv(1)  # ends when the client does

    def _answer(self) -> str:
        found = self._head()
        if found is None:
            return ""
        path, first, end = found
        mishap = self.served.take_mishap()
        with path.open("rb") as file:
            self._send(file.fileno(), first, path.stat().st_size // 2 if mishap else end)
        self.close_connection = self.close_connection or bool(mishap)
        if mishap == "hold":
            self._wait_until_read()
            self.served.count(held=1)
        return mishap

    def _head(self) -> tuple[Path, int, int] | None:
        """Send the status and the headers; give the file and the part of it that should follow."""
        asked = _FILE.match(self.path)
        path = self.served.folder / asked["name"] if asked else None
        if asked is None or path is None or not path.is_file():
            self._headers(404, {"Content-Length": "0"})
            return None
        state = path.stat()
        sha256 = Path(f"{path}.sha256").read_text()
        headers = {
            "Accept-Ranges": "bytes",
            "Content-Type": "application/zip",
            "ETag": f'"{sha256}"',
            "Last-Modified": formatdate(state.st_mtime, usegmt=True),
        }
        if asked["hub"]:
            headers["X-Repo-Commit"] = COMMIT
            headers["X-Linked-Size"] = str(state.st_size)
            headers["X-Linked-Etag"] = headers["ETag"]
        return self._headers_of_part(path, state.st_size, headers)

    def _headers_of_part(
        self, path: Path, size: int, headers: dict[str, str]
    ) -> tuple[Path, int, int] | None:
        first, end = 0, size
        asked = _RANGE.match(self.headers.get("Range", ""))
        same = self.headers.get("If-Range", headers["ETag"])
        if asked and same in (headers["ETag"], headers["Last-Modified"]):
            first, end = int(asked[1]), min(size, int(asked[2] or size) + 1)
            if first >= end:
                self._headers(416, {"Content-Range": f"bytes */{size}", "Content-Length": "0"})
                return None
            headers["Content-Range"] = f"bytes {first}-{end - 1}/{size}"
        headers["Content-Length"] = str(end - first)
        self._headers(206 if "Content-Range" in headers else 200, headers)
        return path, first, end

    def _headers(self, status: int, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()

    def _send(self, file: int, first: int, end: int) -> None:
        while first < end:
            sent = os.sendfile(self.connection.fileno(), file, first, end - first)
            self.served.count(sent=sent)
            first += sent

    def _wait_until_read(self) -> None:
        """Wait until nothing that was sent is left in the kernel, where it would die unread."""
        end = time.monotonic() + PATIENCE
        while _unread(self.client_address, self.connection.getsockname()):
            if time.monotonic() > end:
                return
            time.sleep(0.005)

    def log_message(self, *_: object) -> None:
        pass


def _unread(client: tuple[str, int], server: tuple[str, int]) -> int:
    """Give the bytes on the way from server to client, 0 where the system does not tell.

    Linux lists both ends of a connection: proc_net_tcp.rst, columns ``tx_queue:rx_queue``.
    """
    ends = {f":{client[1]:04X}", f":{server[1]:04X}"}
    unread = 0
    with suppress(OSError):
        for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
            _, local, remote, _, queues, *_ = line.split()
            if {local[-5:], remote[-5:]} == ends:
                unread += sum(int(queue, 16) for queue in queues.split(":"))
    return unread


class _Server(ThreadingHTTPServer):
    request_queue_size = 256  # many ask at once
    daemon_threads = True

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing: clients that are killed go without a word."""


def main(folder: str) -> None:
    """Serve until standard input ends; each line of it is a command, answered by a line."""
    served = _Handler.served = _Served(Path(folder))
    with _Server(("127.0.0.1", 0), _Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        print(server.server_port, flush=True)
        for line in sys.stdin:
            print(served.obey(line.strip()), flush=True)
        server.shutdown()


if __name__ == "__main__":
    main(sys.argv[1])
