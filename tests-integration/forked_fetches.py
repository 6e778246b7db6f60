"""Processes that fetch a model: some killed on the way, many at once.

Run as a program, in which nothing else happens: it imports what a fetch takes, once, and forks
from there without threads. What it found goes to stdout as JSON.
"""

import hashlib
import json
import os
import shutil
import signal
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

sys.path.insert(0, str(Path(__file__).parent))  # pytest looks for doctests here, too

from faulty_site import left_over, write_manifest

PHASES = ("download", "unpack", "after")
TURNS, PER_TURN = 20, 10
FETCHES = TURNS * (PER_TURN + 1) + 1  # with those that are measured, and a rehearsal


class Job(NamedTuple):
    """What to fetch, as it comes in JSON.

    Args:
        folder: Where to work.
        urls: One for each fetch, so that a server can tell them apart.
        fields: The others of the entry.
        files: The sha256 of every file, by path below the target.
    """

    folder: str
    urls: list[str]
    fields: dict[str, str]
    files: dict[str, str]

    def manifest(self, number: int) -> Path:
        path = Path(self.folder, f"{number}.yaml")
        return write_manifest(path, v1={"url": self.urls[number], **self.fields})

    def is_at(self, path: Path) -> bool:
        """Whether `path` is the model, every byte of it, and nothing else."""
        found = {
            file.relative_to(path).as_posix(): hashlib.sha256(file.read_bytes()).hexdigest()
            for file in path.rglob("*")
            if not file.is_dir()
        }
        return found == self.files


class Child(NamedTuple):
    """A forked process, and the pipe in which it says how far it is."""

    pid: int
    pipe: int

    def told(self) -> str:
        """Return everything that it said, once it has ended."""
        with os.fdopen(self.pipe, "rb") as pipe:
            return pipe.read().decode()


def fork(work: Callable[[Callable[[str], Any]], Any]) -> Child:
    """Do `work` in a process of its own; it is called with what says something to the parent."""
    theirs, ours = os.pipe()
    pid = os.fork()
    if pid:
        os.close(ours)
        return Child(pid, theirs)
    code = 1
    try:
        os.close(theirs)
        work(lambda text: os.write(ours, text.encode()))
        code = 0
    except BaseException:
        sys.excepthook(*sys.exc_info())
    finally:
        sys.stderr.flush()
        os._exit(code)


def ended(child: Child) -> int:
    return os.waitstatus_to_exitcode(os.waitpid(child.pid, 0)[1])


def ask(job: Job, number: int, cache: Path) -> Path:
    from pycemrg.models import ModelManager

    return ModelManager(job.manifest(number), cache).get_model_path("seg")


@contextmanager
def telling(say: Callable[[str], Any]) -> Iterator[None]:
    """Say when unpacking starts and ends."""
    from pycemrg.models import archive

    really_extract = archive.extract

    def extract(*args: Any, **fields: Any) -> Any:
        say("u")
        listing = really_extract(*args, **fields)
        say("a")
        return listing

    archive.extract = extract
    yield
    archive.extract = really_extract


def victim(job: Job, number: int, cache: Path) -> Child:
    """Start a fetch that says `d` when it begins, `u` and `a` around unpacking, `f` at its end."""

    def work(say: Callable[[str], Any]) -> None:
        with telling(say):
            say("d")
            ask(job, number, cache)
            say("f")
        signal.pause()  # to be killed all the same

    return fork(work)


def wait_for(child: Child, letter: str) -> float:
    """Return when the child said `letter`."""
    while (said := os.read(child.pipe, 1)) not in (letter.encode(), b""):
        pass
    assert said, f"the child ended before it said {letter!r}"
    return time.monotonic()


def kill(child: Child) -> None:
    os.kill(child.pid, signal.SIGKILL)
    code = ended(child)
    assert code == -signal.SIGKILL, code


def phase(letters: str) -> str:
    return PHASES[0] if "u" not in letters else PHASES[1] if "a" not in letters else PHASES[2]


def check(job: Job, number: int, cache: Path, say: Callable[[str], Any]) -> None:
    """Ask once more, then clean up; say what is wrong."""
    from pycemrg.models import ModelCache

    path = ask(job, number, cache)
    if not job.is_at(path):
        say(f"{number}: wrong content; ")
    ModelCache(cache).prune()
    if left_over(cache):
        say(f"{number}: left over: {left_over(cache)}; ")
    if not job.is_at(ask(job, number, cache)):
        say(f"{number}: gone after prune; ")


def rehearse(job: Job) -> None:
    """Do everything once, so that all that it takes is imported in every fork."""
    cache = Path(job.folder, "rehearsal")
    faults: list[str] = []
    check(job, len(job.urls) - 1, cache, faults.append)
    assert not faults, faults
    shutil.rmtree(cache)


def measure(job: Job, number: int) -> list[float]:
    """Return when a fetch begins to unpack, when it ends to, and when it is done, in seconds."""
    cache = cache_of(job, number)
    child = victim(job, number, cache)
    start = wait_for(child, "d")
    moments = [wait_for(child, letter) - start for letter in "uaf"]
    kill(child)
    os.close(child.pipe)
    shutil.rmtree(cache)
    return moments


def kill_at(job: Job, number: int, seconds: float) -> str:
    """Kill a fetch at an instant and return the phase in which it was."""
    child = victim(job, number, cache_of(job, number))
    instant = wait_for(child, "d") + seconds
    time.sleep(max(0.0, instant - time.monotonic()))
    kill(child)
    return phase(child.told())


def kill_at_instants(job: Job) -> dict[str, Any]:
    """Kill fetches at instants spread evenly over the time that one takes at present.

    They are taken by turns, and the time again for each turn, because a machine has other work.
    What comes of one is looked at while the next one runs, in a cache of its own.
    """
    moments, faults, killed = [], [], dict.fromkeys(PHASES, 0)
    checks: list[tuple[int, Child]] = []
    for turn in range(TURNS):
        first = turn * (PER_TURN + 1)
        moments.append(measure(job, first))
        for step in range(PER_TURN):
            number = first + 1 + step
            share = (step + (turn + 0.5) / TURNS) / PER_TURN
            killed[kill_at(job, number, moments[-1][-1] * share)] += 1
            faults += outcome(job, checks)
            checks.append((number, fork(partial(check, job, number, cache_of(job, number)))))
    faults += outcome(job, checks)
    times = [statistics.median(each) for each in zip(*moments, strict=True)]
    return {"times": times, "killed": killed, "faults": faults}


def outcome(job: Job, checks: list[tuple[int, Child]]) -> Iterator[str]:
    """Wait for the checks that run, and yield what they found wrong."""
    while checks:
        number, child = checks.pop()
        told, code = child.told(), ended(child)
        if told or code:
            yield told or f"{number}: exit code {code}"
        shutil.rmtree(cache_of(job, number), ignore_errors=True)


def cache_of(job: Job, number: int) -> Path:
    return Path(job.folder, f"cache-{number}")


def crowd(job: Job, count: int, locks_work: bool, damaged: bool) -> dict[str, Any]:
    """Let many processes ask at once, for what is not there or damaged."""
    from contextlib import nullcontext

    from pycemrg.models import ModelManager, locks

    if not locks_work:
        locks.lock = lambda *_: nullcontext()
    manifest, cache = job.manifest(0), Path(job.folder, "cache")
    if damaged:
        path = ModelManager(manifest, cache).get_model_path("seg")
        next(path.rglob("*.pth")).write_bytes(b"damaged")
    gate, opened = os.pipe()

    def work(say: Callable[[str], Any]) -> None:
        os.close(opened)
        models = ModelManager(manifest, cache)
        os.read(gate, 1)  # until the parent closes its end
        path = models.get_model_path("seg")
        say(f"{path} {job.is_at(path)}")

    children = [fork(work) for _ in range(count)]
    os.close(gate)
    os.close(opened)
    told = [child.told() for child in children]
    return {"told": told, "codes": list(map(ended, children)), "left": left_over(cache)}


def main() -> None:
    """Do what the JSON on stdin asks for."""
    order = json.load(sys.stdin)
    job = Job(*order["job"])
    # A disk takes ten times as long, and a kill does not ask what is on it.
    os.fsync = lambda _: time.sleep(0.001)
    rehearse(job)
    if order["do"] == "kill":
        found = kill_at_instants(job)
    else:
        found = crowd(job, order["count"], order["locks"], order["damaged"])
    json.dump(found, sys.stdout)


if __name__ == "__main__":
    main()
