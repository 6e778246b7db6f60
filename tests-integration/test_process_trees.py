"""A hundred trees of processes, ended in each way there is; nothing of them may live on.

They are ended side by side, while each has a test of its own.
"""

import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from process_trees import SHAPES, Marked, Shape, why_no_mpirun

from pycemrg.system import CommandRunner, CommandTimeoutError, OutputLine, process

pytestmark = [
    pytest.mark.once,
    pytest.mark.skipif(not sys.platform.startswith("linux"), reason="/proc is looked into"),
]

AT_ONCE = 12
GRACE = 0.3
MARGIN = 2.0
PATIENCE = 100  # seconds, should a tree never stand or never end


class Case(NamedTuple):
    """A tree and the way in which it is ended."""

    shape: Shape
    ending: str


@dataclass
class Fate:
    """What became of a tree: who stood before, how `run` ended and after how long, who lives."""

    how: object = None
    stood: list[int] = field(default_factory=list)
    told: float = 0.0
    seconds: float = 0.0
    alive: list[int] = field(default_factory=list)


class Clock(threading.local):
    """The time for the code under test, which each thread can put forward for itself."""

    ahead = 0.0

    def monotonic(self) -> float:
        return time.monotonic() + self.ahead

    def __getattr__(self, name: str) -> object:
        return getattr(time, name)


class NoMoreError(Exception):
    """Raised in `on_output`."""


CLOCK = Clock()


def pass_the_deadline() -> None:
    CLOCK.ahead = 1000.0


def refuse() -> None:
    raise NoMoreError


def end_in_this_process(shape: Shape, marked: Marked, tell: Callable[[], None]) -> Fate:
    """Run the tree here, and tell it to end once all its members are ready."""
    fate, ready = Fate(), Counter()

    def listen(line: OutputLine) -> None:
        ready[line == "ready"] += 1
        if ready[True] == shape.members and not fate.stood:
            fate.stood = marked.living()
            fate.told = time.monotonic()
            tell()

    CLOCK.ahead = 0.0
    try:
        CommandRunner().run(shape.cmd, env=marked.env, timeout=PATIENCE, on_output=listen)
        fate.how = "returned"
    except (CommandTimeoutError, NoMoreError) as error:
        fate.how = type(error).__name__
    return over(fate, marked)


CALLER = """
import signal, sys
from pycemrg.system import CommandRunner, process

process.TERM_GRACE = float(sys.argv[1])
signal.signal(signal.SIGINT, signal.default_int_handler)  # a background job of a shell ignores it
try:
    CommandRunner().run(sys.argv[2:], on_output=lambda line: print(line, flush=True))
except KeyboardInterrupt:
    sys.exit(130)
"""
A_CALLER = [sys.executable, "-c", CALLER, str(GRACE)]
PYCEMRG_RUN = [sys.executable, "-m", "pycemrg.cli", "run", "--"]


def end_by_signal(shape: Shape, marked: Marked, caller: list[str], number: int) -> Fate:
    """Run the tree below a process of its own, which gets the signal."""
    fate, ready = Fate(), 0
    pipes = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
    with subprocess.Popen([*caller, *shape.cmd], env=marked.env, **pipes) as running:
        guard = threading.Timer(PATIENCE, marked.end)
        guard.start()
        for line in running.stdout:
            ready += line == b"ready\n"
            if ready == shape.members and not fate.stood:
                fate.stood = marked.living()
                fate.told = time.monotonic()
                running.send_signal(number)
        fate.how = running.wait()
        guard.cancel()
    return over(fate, marked)


def over(fate: Fate, marked: Marked) -> Fate:
    fate.seconds = time.monotonic() - fate.told
    fate.alive = marked.living()
    marked.end()
    return fate


class Ending(NamedTuple):
    """A way to end a tree, and what the caller gets to see, and the time that the tree is given."""

    end: Callable[[Shape, Marked], Fate]
    how: object
    grace: float


ENDINGS = {
    "sigterm": Ending(
        lambda shape, marked: end_by_signal(shape, marked, PYCEMRG_RUN, signal.SIGTERM),
        128 + signal.SIGTERM,
        process.TERM_GRACE,
    ),
    "sigint": Ending(
        lambda shape, marked: end_by_signal(shape, marked, A_CALLER, signal.SIGINT), 130, GRACE
    ),
    "timeout": Ending(
        lambda shape, marked: end_in_this_process(shape, marked, pass_the_deadline),
        "CommandTimeoutError",
        GRACE,
    ),
    "exception": Ending(
        lambda shape, marked: end_in_this_process(shape, marked, refuse), "NoMoreError", GRACE
    ),
}
NO_MPIRUN = why_no_mpirun()
CASES = [
    pytest.param(
        Case(shape, ending),
        id=f"{ending}-{shape.name}",
        marks=pytest.mark.skipif(bool(shape.needs_mpirun and NO_MPIRUN), reason=str(NO_MPIRUN)),
    )
    for ending in ENDINGS
    for shape in SHAPES
]


@pytest.fixture(scope="module")
def fates(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[Case, Future[Fate]]]:
    """End the trees that are asked for, some at once."""
    folder = tmp_path_factory.mktemp("trees")
    cases = [
        item.callspec.params["case"]
        for item in request.session.items
        if getattr(item, "module", None) is request.module and hasattr(item, "callspec")
    ]
    with pytest.MonkeyPatch.context() as patch, ThreadPoolExecutor(AT_ONCE) as pool:
        patch.setattr(process, "TERM_GRACE", GRACE)
        patch.setattr(process, "time", CLOCK)
        yield {
            case: pool.submit(ENDINGS[case.ending].end, case.shape, Marked(folder))
            for case in cases
            if not (case.shape.needs_mpirun and NO_MPIRUN)
        }


def test_there_are_a_hundred_trees() -> None:
    assert len(CASES) == 100
    assert sum(case.values[0].shape.needs_mpirun for case in CASES) == 20


@pytest.mark.parametrize("case", CASES)
def test_nothing_of_a_tree_lives_on(case: Case, fates: dict[Case, Future[Fate]]) -> None:
    fate = fates[case].result()
    _, how, grace = ENDINGS[case.ending]
    if (case.shape.name, case.ending) == ("its-leader-has-ended", "timeout"):
        # The command itself was in time. What it left behind may write until the other grace ends.
        how, grace = "returned", process.PIPE_GRACE
    assert len(fate.stood) >= case.shape.members
    assert fate.alive == []
    assert fate.how == how
    assert fate.seconds < grace + MARGIN


@pytest.fixture
def marked(tmp_path: Path) -> Iterator[Marked]:
    marked = Marked(tmp_path)
    yield marked
    marked.end()


def test_a_second_ctrl_c_ends_the_grace_and_leaves_nothing(marked: Marked, tmp_path: Path) -> None:
    told = tmp_path / "told"
    os.mkfifo(told)
    script = f"trap 'echo > {told}' TERM; echo ready; while :; do sleep 600 & wait; done"
    cmd = [sys.executable, "-c", CALLER, str(PATIENCE), "bash", "-c", script]
    with subprocess.Popen(cmd, env=marked.env, stdout=subprocess.PIPE) as running:
        assert running.stdout.readline() == b"ready\n"
        running.send_signal(signal.SIGINT)
        assert told.read_text() == "\n"  # when the first has been handled
        running.send_signal(signal.SIGINT)
        assert running.wait(PATIENCE / 2) == 130
    assert marked.living() == []
