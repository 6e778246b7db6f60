import os
import signal
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from pycemrg.system import process


class Marked:
    """Processes that carry a mark in their environment, found without the code under test."""

    def __init__(self) -> None:
        self.env = {**os.environ, "PYCEMRG_TEST_MARK": uuid.uuid4().hex}
        self._mark = f"PYCEMRG_TEST_MARK={self.env['PYCEMRG_TEST_MARK']}".encode()

    def living(self) -> list[int]:
        return [int(path.name) for path in Path("/proc").glob("[0-9]*") if self._is_marked(path)]

    def _is_marked(self, path: Path) -> bool:
        try:
            return self._mark in (path / "environ").read_bytes().split(b"\0")
        except OSError:  # gone, or somebody else's; the environment of a zombie is empty
            return False


@pytest.fixture
def marked() -> Iterator[Marked]:
    marked = Marked()
    yield marked
    for pid in marked.living():
        os.kill(pid, signal.SIGKILL)


@pytest.fixture
def short_graces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "TERM_GRACE", 0.2)
    monkeypatch.setattr(process, "PIPE_GRACE", 0.2)


class Clock:
    """The clock that commands are timed by; a test can put it forward."""

    def __init__(self) -> None:
        self.ahead = 0.0

    def monotonic(self) -> float:
        return time.monotonic() + self.ahead

    def sleep(self, seconds: float) -> None:
        time.sleep(seconds)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(process, "time", clock)
    return clock


@pytest.fixture(params=["polled", "threaded"])
def each_way_to_listen(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param == "threaded":
        monkeypatch.delattr(os, "pidfd_open")


@pytest.fixture
def make_program(tmp_path: Path) -> "MakeProgram":
    return MakeProgram(tmp_path / "programs")


class MakeProgram:
    """Writes executable shell scripts into a folder that can be put on a PATH."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir()

    def __call__(self, name: str, text: str, mode: int = 0o755) -> Path:
        path = self.folder / name
        path.write_text(text)
        path.chmod(mode)
        return path
