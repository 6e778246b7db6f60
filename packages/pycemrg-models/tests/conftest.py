"""A web site on this machine that misbehaves on demand, and archives to put there."""

import hashlib
import http.server
import io
import tarfile
import threading
import zipfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

Answer = Callable[[http.server.BaseHTTPRequestHandler], None]


class Site:
    """Answers GET requests; the last of several answers to a path is given again and again."""

    def __init__(self) -> None:
        self.requests: list[tuple[str, dict[str, str]]] = []
        self._answers: dict[str, list[Answer]] = {}
        self._lock = threading.Lock()
        site = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                site.answer(self)

            def log_message(self, *_: Any) -> None:
                pass

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))
        self._thread.start()

    @property
    def port(self) -> int:
        return self._server.server_address[1]

    def url(self, path: str, host: str = "127.0.0.1") -> str:
        return f"http://{host}:{self.port}{path}"

    def give(self, path: str, *answers: Answer | bytes) -> str:
        self._answers[path] = [
            body(answer) if isinstance(answer, bytes) else answer for answer in answers
        ]
        return self.url(path)

    def paths(self) -> list[str]:
        return [path for path, _ in self.requests]

    def answer(self, handler: http.server.BaseHTTPRequestHandler) -> None:
        with self._lock:
            self.requests.append((handler.path, dict(handler.headers)))
            answers = self._answers.get(handler.path.partition("?")[0], [status(404)])
            answer = answers.pop(0) if len(answers) > 1 else answers[0]
        with suppress(OSError):
            answer(handler)

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


def body(content: bytes, *, sent: int | None = None, **headers: str) -> Answer:
    """Answer with `content`, of which only the first `sent` bytes come before the line drops."""

    def answer(handler: http.server.BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.send_header("Content-Length", str(len(content)))
        for name, value in headers.items():
            handler.send_header(name.replace("_", "-"), value)
        handler.end_headers()
        handler.wfile.write(content[:sent])

    return answer


def status(code: int, **headers: str) -> Answer:
    def answer(handler: http.server.BaseHTTPRequestHandler) -> None:
        handler.send_response(code)
        for name, value in headers.items():
            handler.send_header(name.replace("_", "-"), value)
        handler.send_header("Content-Length", "0")
        handler.end_headers()

    return answer


@pytest.fixture
def site() -> Iterator[Site]:
    running = Site()
    yield running
    running.close()


@pytest.fixture(autouse=True)
def no_settings_from_outside(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for variable in ("PYCEMRG_CACHE_DIR", "PYCEMRG_OFFLINE", "PYCEMRG_SEED_DIRS", "NETRC"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    for variable in ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.delenv(variable, raising=False)


@pytest.fixture
def answers() -> Any:
    """The ways to answer, for test modules, which cannot import this one."""

    class Answers:
        body = staticmethod(body)
        status = staticmethod(status)

    return Answers


@pytest.fixture
def zip_of() -> Callable[..., bytes]:
    def make(members: dict[str, bytes], compression: int = zipfile.ZIP_STORED) -> bytes:
        packed = io.BytesIO()
        with zipfile.ZipFile(packed, "w", compression) as archive:
            for name, content in members.items():
                archive.writestr(name, content)
        return packed.getvalue()

    return make


@pytest.fixture
def solver_tar() -> Callable[[str], bytes]:
    """A solver as its developers pack it: an executable, and a library under its sonames."""

    def make(compression: str = "gz") -> bytes:
        packed = io.BytesIO()
        with tarfile.open(fileobj=packed, mode=f"w:{compression}") as archive:
            _add(archive, "solver-2.0/bin/openCARP", b"#!/bin/sh\necho solved\n", 0o755)
            _add(archive, "solver-2.0/lib/libpetsc.so.3.20", b"machine code", 0o644)
            _link(archive, "solver-2.0/lib/libpetsc.so.3", "libpetsc.so.3.20")
            _link(archive, "solver-2.0/lib/libpetsc.so", "libpetsc.so.3")
            _link(archive, "solver-2.0/current", "../solver-2.0/bin")
        return packed.getvalue()

    return make


def _add(archive: tarfile.TarFile, name: str, content: bytes, mode: int) -> None:
    member = tarfile.TarInfo(name)
    member.size, member.mode, member.mtime = len(content), mode, 1_600_000_000
    archive.addfile(member, io.BytesIO(content))


def _link(archive: tarfile.TarFile, name: str, to: str) -> None:
    member = tarfile.TarInfo(name)
    member.type, member.linkname = tarfile.SYMTYPE, to
    archive.addfile(member)


@pytest.fixture
def sha256() -> Callable[[bytes], str]:
    return lambda content: hashlib.sha256(content).hexdigest()


@pytest.fixture
def manifest(tmp_path: Path) -> Callable[..., Path]:
    """Write models.yaml from the fields of versions of a model called ``seg``."""

    def write(default: str | None = "v1", **versions: dict[str, str]) -> Path:
        lines = ["seg:"]
        if default:
            lines.append(f"  default: {default}")
        lines.append("  versions:")
        for version, fields in versions.items():
            lines.append(f"    {version}:")
            lines += [f"      {key}: {value}" for key, value in fields.items()]
        path = tmp_path / "models.yaml"
        path.write_text("\n".join(lines) + "\n")
        return path

    return write
