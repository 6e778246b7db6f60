"""What happens to those who fetch: a crowd, a connection cut off, ``kill -9`` at any instant."""

import multiprocessing
import os
import random
import shutil
import statistics
import sys
import time
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, NamedTuple

from model_clients import Client, Offer
from model_server import ModelServer
from results import WrongResultError

RIGHT, WRONG, FAILED = 0, 1, 2  # exit codes of the processes that fetch
PATIENCE = 120.0  # seconds
MAX_CALLS = 5
TIMED = 5
SEED = 4

# Imported once, in the process that all others are forked from: 0.3 to 0.8 s each otherwise.
PRELOADED = [
    *("filelock", "requests", "tqdm", "zipfile", "pycemrg.models.fetch", "pycemrg.models.download"),
    *("pooch", "huggingface_hub", "huggingface_hub.file_download"),
]


class Outcomes(NamedTuple):
    """How many calls gave the right files, gave wrong ones as right, and raised an error."""

    right: int
    wrong: int
    failed: int

    @classmethod
    def of(cls, codes: list[int]) -> "Outcomes":
        """Count exit codes; a process that died otherwise has failed."""
        right, wrong = codes.count(RIGHT), codes.count(WRONG)
        return cls(right, wrong, len(codes) - right - wrong)


def _context() -> Any:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(PRELOADED)
    return context


_CONTEXT = _context()


class _Fetch:
    """A process that fetches once, looks at what it got, and ends with `RIGHT` or another code."""

    def __init__(self, client: Client, offer: Offer, cache: Path, barrier: Any = None) -> None:
        self._here, there = _CONTEXT.Pipe(duplex=False)
        self.process = _CONTEXT.Process(target=_fetch, args=(client, offer, cache, there, barrier))
        self.process.start()
        there.close()

    def wait(self) -> int:
        """Give the exit code; `FAILED` also for a process that does not end."""
        self.process.join(PATIENCE)
        self.process.kill()
        self.process.join()
        self._here.close()
        return int(self.process.exitcode)

    def wait_for_event(self) -> float:
        """Wait until it begins or has fetched, and give the time.

        Raises:
            RuntimeError: If it does not come to that.
        """
        try:
            if self._here.poll(PATIENCE):
                self._here.recv()
                return time.perf_counter()
        except EOFError:
            pass
        raise RuntimeError(f"a process that fetches ended with {self.wait()} too early")

    def kill_after(self, seconds: float) -> None:
        """Kill it when so much time has passed, unless it ends before."""
        self.process.join(seconds)
        self.process.kill()
        self.process.join()
        self._here.close()


def _fetch(client: Client, offer: Offer, cache: Path, events: Connection, barrier: Any) -> None:
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
    try:
        if barrier is not None:
            barrier.wait(PATIENCE)
        events.send("begins")
        returned = client.fetch(offer, cache)
        events.send("has fetched")
    except Exception:
        sys.exit(FAILED)
    try:
        client.check(returned, offer)
    except (WrongResultError, OSError):
        sys.exit(WRONG)
    sys.exit(RIGHT)


def crowd(client: Client, offer: Offer, cache: Path, count: int) -> Outcomes:
    """Let many processes fetch the same at the same instant, into one cache."""
    barrier = _CONTEXT.Barrier(count)
    fetches = [_Fetch(client, offer, cache, barrier) for _ in range(count)]
    return Outcomes.of([fetch.wait() for fetch in fetches])


def cut_off(client: Client, offer: Offer, cache: Path, server: ModelServer) -> int:
    """Close the connection at half of the archive, and give the bytes that were sent twice.

    Who gives up is called again.

    Raises:
        WrongResultError: If it never gets there.
    """
    server.reset()
    server.cut()
    return _sent_twice(client, offer, cache, server)


def killed_half_way(client: Client, offer: Offer, cache: Path, server: ModelServer) -> int:
    """Kill a process that has half of the archive; give the bytes that were sent twice in the end.

    Raises:
        WrongResultError: If the next ones do not get the rest.
    """
    server.reset()
    server.hold()
    fetch = _Fetch(client, offer, cache)
    server.wait_until_held()
    fetch.kill_after(0)
    return _sent_twice(client, offer, cache, server)


def _sent_twice(client: Client, offer: Offer, cache: Path, server: ModelServer) -> int:
    for _ in range(MAX_CALLS):
        if _Fetch(client, offer, cache).wait() == RIGHT:
            return server.counts().sent - offer.archive.size
    raise WrongResultError(f"{client.name}: no right answer in {MAX_CALLS} calls after a mishap")


def kills(client: Client, offer: Offer, folder: Path, instants: int) -> Outcomes:
    """Kill a process at random instants of its fetch, each time with an empty cache; call again.

    The instants are spread evenly over the time that a fetch takes.

    Returns:
        What the calls after the kills gave.
    """
    duration = statistics.median(
        _duration(client, offer, folder / f"timed-{n}") for n in range(TIMED)
    )
    instant = random.Random(SEED)
    codes = []
    for number in range(instants):
        cache = folder / f"killed-{number}"
        fetch = _Fetch(client, offer, cache)
        fetch.wait_for_event()
        fetch.kill_after(instant.uniform(0, duration))
        codes.append(_Fetch(client, offer, cache).wait())
        shutil.rmtree(cache, ignore_errors=True)
    return Outcomes.of(codes)


def _duration(client: Client, offer: Offer, cache: Path) -> float:
    fetch = _Fetch(client, offer, cache)
    start = fetch.wait_for_event()
    end = fetch.wait_for_event()
    fetch.wait()
    shutil.rmtree(cache)
    return end - start
