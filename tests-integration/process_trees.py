"""Trees of processes that are hard to end, and how to find what is left of them.

Each process of a tree writes ``ready`` when it stands as it should; then the tree may be ended.
"""

import os
import shutil
import signal
import sys
import uuid
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Shape:
    """A command and how many of its processes say that they are ready."""

    name: str
    cmd: tuple[str, ...]
    members: int

    @property
    def needs_mpirun(self) -> bool:
        return self.name.startswith("mpirun")


IN_PYTHON = """
import os, signal, sys, time

def deaf():
    signal.signal(signal.SIGTERM, signal.SIG_IGN)

def apart():
    os.setpgid(0, 0)

def ready():
    os.write(1, b"ready\\n")

def stay():
    ready()
    while True:
        time.sleep(600)
"""


def in_python(name: str, members: int, body: str) -> Shape:
    return Shape(name, (sys.executable, "-I", "-S", "-c", IN_PYTHON + body), members)


def in_shell(name: str, members: int, script: str) -> Shape:
    return Shape(name, ("bash", "-c", script), members)


def by_mpirun(name: str, ranks: int, members: int, script: str) -> Shape:
    cmd = ("mpirun", "--oversubscribe", "-np", str(ranks), "bash", "-c", script)
    return Shape(name, cmd, members)


STAY = "while :; do sleep 600; done"

SHAPES = [
    in_shell("does-as-it-is-told", 1, "echo ready; exec sleep 600"),
    in_shell("shell-with-a-child", 2, "(echo ready; exec sleep 600) & echo ready; wait; true"),
    in_shell("ignores-sigterm", 1, f"trap '' TERM; echo ready; {STAY}"),
    in_shell("stops-itself", 1, f"trap '' TERM; echo ready; kill -STOP $$; {STAY}"),
    in_shell("closes-its-output", 1, f"trap '' TERM; echo ready; exec >&- 2>&-; {STAY}"),
    in_shell("never-stops-writing", 1, f"trap '' TERM; echo ready; yes {1_000 * 'more'}"),
    in_shell("pipeline", 2, f"(trap '' TERM; echo ready >&2; yes) | (echo ready >&2; {STAY})"),
    in_shell(
        "job-control", 2, f"set -m; (trap '' TERM; echo ready; {STAY}) & echo ready; exec sleep 600"
    ),
    in_python("child-ignores-sigterm", 2, "os.fork() or deaf()\nstay()"),
    in_python(
        "grandchild-holds-the-pipes", 3, "os.fork() or os.fork() or deaf() or apart()\nstay()"
    ),
    in_python(
        "double-fork",
        2,
        """
if os.fork() == 0:
    if os.fork() == 0:
        deaf()
        apart()
        stay()
    os._exit(0)
os.wait()
stay()
""",
    ),
    in_python(
        "its-leader-has-ended",
        1,
        """
ended, end = os.pipe()
if os.fork() == 0:
    os.close(end)
    deaf()
    os.read(ended, 1)
    stay()
""",
    ),
    in_python(
        "a-thread-outlives-its-process",
        2,
        """
import ctypes, threading

if os.fork() == 0:
    apart()
    deaf()
    threading.Thread(target=stay).start()
    ctypes.CDLL(None).pthread_exit(None)
stay()
""",
    ),
    in_python(
        "ranks-in-groups-of-their-own",
        5,
        """
for _ in range(4):
    if os.fork() == 0:
        apart()
        deaf()
        break
stay()
""",
    ),
    in_python(
        "ranks-that-their-leader-ends",
        5,
        """
ranks = []
for _ in range(4):
    rank = os.fork()
    if rank == 0:
        apart()
        stay()
    ranks.append(rank)

def end(*_):
    for rank in ranks:
        os.kill(rank, signal.SIGKILL)
        os.waitpid(rank, 0)
    sys.exit(1)

signal.signal(signal.SIGTERM, end)
stay()
""",
    ),
    in_python(
        "forks-when-it-is-told-to-end",
        1,
        """
def fork(*_):
    if os.fork():
        os._exit(1)
    apart()
    deaf()

signal.signal(signal.SIGTERM, fork)
stay()
""",
    ),
    in_python(
        "starts-again-what-dies",
        2,
        """
deaf()
apart_and_ready = os.fork() == 0
while not apart_and_ready:
    ready()
    os.wait()
    apart_and_ready = os.fork() == 0
apart()
stay()
""",
    ),
    in_python(
        "wide",
        31,
        "for _ in range(30):\n    if os.fork() == 0:\n        apart()\n        break\nstay()",
    ),
    in_python(
        "deep", 16, "for _ in range(15):\n    if os.fork():\n        break\n    deaf()\nstay()"
    ),
    in_python(
        "named-to-deceive-and-among-zombies",
        1,
        """
for _ in range(3):
    os.fork() or os._exit(0)
deaf()
with open("/proc/self/comm", "w") as name:
    name.write(") Z 1 (")
stay()
""",
    ),
    by_mpirun("mpirun", 2, 2, "echo ready; exec sleep 600"),
    by_mpirun("mpirun-and-deaf-ranks", 3, 3, f"trap '' TERM; echo ready; {STAY}"),
    by_mpirun(
        "mpirun-and-ranks-with-children",
        2,
        4,
        f"(trap '' TERM; set -m; echo ready; {STAY}) & echo ready; exec sleep 600",
    ),
    by_mpirun(
        "mpirun-and-ranks-that-never-stop-writing", 2, 1, f"echo ready; yes {1_000 * 'more'}"
    ),
    in_shell(
        "mpirun-below-a-shell",
        2,
        f"mpirun --oversubscribe -np 2 bash -c \"trap '' TERM; echo ready; {STAY}\"; true",
    ),
]


class Marked:
    """An environment with a mark, by which its processes are found whatever became of them."""

    def __init__(self, folder: Path) -> None:
        mark = uuid.uuid4().hex
        self._entry = f"PYCEMRG_TEST_MARK={mark}".encode()
        self.env = {
            **os.environ,
            "PYCEMRG_TEST_MARK": mark,
            "TMPDIR": str(folder),  # where an mpirun that is killed leaves its folder
            "OMPI_ALLOW_RUN_AS_ROOT": "1",
            "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1",
        }

    def living(self) -> list[int]:
        """Return the processes of which any thread lives."""
        processes = [path for path in Path("/proc").iterdir() if path.name.isdigit()]
        return [int(path.name) for path in processes if self._is_marked(path)]

    def end(self) -> None:
        """Leave nothing behind if the code under test did."""
        while pids := self.living():
            for pid in pids:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)

    def _is_marked(self, process: Path) -> bool:
        try:
            threads = list((process / "task").iterdir())
        except OSError:  # it is gone
            return False
        return any(self._entry in environment_of(thread).split(b"\0") for thread in threads)


def environment_of(thread: Path) -> bytes:
    """Return what it was started with; nothing if it has ended, waited for or not."""
    try:
        return (thread / "environ").read_bytes()
    except OSError:
        return b""


def why_no_mpirun() -> str | None:
    if shutil.which("mpirun"):
        return None
    return "there is no mpirun; Debian and Ubuntu have it in the package openmpi-bin"
