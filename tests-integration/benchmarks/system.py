"""What running commands costs, in time and memory, and what is left alive, beside the peers."""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version
from pathlib import Path

import runners
from measure import child_environment, interleaved, ratios
from results import Result, Row, WrongResultError
from runners import BARE, OURS, PEERS

from pycemrg.system import CarpRunner, CommandRunner

RUNS = 15
SPAWNS = 10
TRUE = "/bin/true"
FLOOD = 500_000_000  # bytes
PATIENCE = 30.0  # seconds
TREES = 100
AT_ONCE = 10
TIMEOUT = 0.5  # seconds
LOOK_AFTER = 2.0  # seconds
MARK = "PYCEMRG_BENCH_MARK"
CALLS = 1_000
COMMANDS = 200

# A rank that SIGTERM does not end, in a process group of its own as Open MPI gives each rank, with
# a child that holds the pipe.
TREE = "set -m; sh -c 'trap \"\" TERM; sleep 300 & sleep 300' & sh -c 'sleep 300' & wait"

CONFIG = """\
export PATH="/opt/carp/bin:$PATH" LD_LIBRARY_PATH=/opt/carp/lib
export CARPENTRY_LICENSE=/opt/carp/license.bin CARPUTILS_SETTINGS=/opt/carp/settings.yaml
"""


def run(runs: int) -> Result:
    """Run small commands, a flood of output, and trees of processes that will not end.

    Raises:
        WrongResultError: If a command that is timed does not give what it should.
    """
    _tell("small commands")
    rows = _spawn_rows(runs)
    with tempfile.TemporaryDirectory(prefix="bench-system-") as name:
        folder = Path(name)
        for each in (OURS, BARE, *PEERS):
            _tell(f"a flood for {each}")
            rows += _flood_rows(each, folder)
        for each, trees in {OURS: TREES, BARE: 10, "plumbum": 3, "invoke": 3, "sh": 3}.items():
            _tell(f"process trees of {each}")
            rows += _tree_rows(each, trees, folder)
        rows += _carp_rows(folder)
    _tell("many commands")
    rows += _crowd_rows(runs)
    versions = {name: version(name) for name in ("pycemrg-system", *PEERS)}
    return Result("system", _method(), runs, versions, rows)


def _method() -> str:
    return (
        f"wall time of {SPAWNS} commands at a time, round by round; memory is the growth of a "
        f"process of its own while {FLOOD / 1e6:.0f} MB of stdout come; a tree is a command whose "
        f"ranks have process groups of their own, ended after {TIMEOUT:g} s"
    )


def _tell(what: str) -> None:
    print(f"system: {what} ...", file=sys.stderr, flush=True)


def _spawn_rows(runs: int) -> list[Row]:
    subjects: dict[str, Callable[[], float]] = {}
    for name in (OURS, BARE, *PEERS):
        run = runners.runner(name)
        if (said := run(["echo", "mesh"])).strip() != "mesh":
            raise WrongResultError(f"{name} gives {said!r} for `echo mesh`")
        subjects[name] = _timed(run)
    seconds = interleaved(subjects, runs)
    what = "spawn and capture /bin/true, over subprocess.run"
    rows = [Row.of(f"{what}: {OURS}", ratios(seconds[OURS], seconds[BARE]), "x", at_most=1.3)]
    rows += [Row.of(f"{what}: {name}", ratios(seconds[name], seconds[BARE]), "x") for name in PEERS]
    each = [1000 * value / SPAWNS for value in seconds[BARE]]
    return [*rows, Row.of("subprocess.run of /bin/true", each, "ms")]


def _timed(run: runners.Run) -> Callable[[], float]:
    def once() -> float:
        start = time.perf_counter()
        for _ in range(SPAWNS):
            run([TRUE])
        return time.perf_counter() - start

    return once


def _flood_rows(name: str, folder: Path) -> list[Row]:
    code = f"import os; [os.write(1, b'x' * 99999 + b'\\n') for _ in range({FLOOD // 100_000})]"
    script = folder / "flood.py"
    script.write_text(f"{code}\n")
    command = [sys.executable, runners.__file__, name, str(folder), sys.executable, str(script)]
    try:
        done = subprocess.run(
            command, env=child_environment(), capture_output=True, text=True, timeout=PATIENCE
        )
    except subprocess.TimeoutExpired:
        return [Row.of(f"500 MB of stdout: {name} did not end", [PATIENCE], "s")]
    if done.returncode != 0:
        raise WrongResultError(f"{name} fails at a flood: {done.stderr[-500:]}")
    arrived, grown = map(int, done.stdout.split()[-2:])
    ours = name == OURS
    where = "in the log" if ours else "returned"
    most, least = (60.0, 100.0) if ours else (None, None)
    return [
        Row.of(f"500 MB of stdout, memory: {name}", [grown / 1e6], "MB", at_most=most),
        Row.of(f"500 MB of stdout, {where}: {name}", [100 * arrived / FLOOD], "%", at_least=least),
    ]


def _tree_rows(name: str, trees: int, folder: Path) -> list[Row]:
    """Count what lives 2 s after the time was over; what hangs is ended by us."""
    program = [sys.executable, __file__, name, str(trees)]
    mark = f"{name}-{os.getpid()}-{time.time_ns()}"
    environment = {**child_environment(), MARK: mark}
    child = subprocess.Popen(program, env=environment, stdout=subprocess.PIPE, text=True)
    try:
        told, _ = child.communicate(timeout=PATIENCE)
        hanging = 0
    except subprocess.TimeoutExpired:
        told, hanging = "", trees
        child.kill()
        child.wait()
    alive = json.loads(told)["alive"] if told else len(_marked(mark, child.pid))
    for pid in _marked(mark, child.pid):
        os.kill(pid, 9)
    target = 0.0 if name == OURS else None
    rows = [
        Row.of(f"alive 2 s after a timeout, of {trees} trees: {name}", [alive], "", at_most=target)
    ]
    if hanging or name == OURS:
        what = f"calls that had not returned after {PATIENCE:g} s: {name}"
        rows.append(Row.of(what, [hanging], "", at_most=target))
    return rows


def _marked(mark: str, but: int) -> list[int]:
    """Find the processes whose environment holds a mark, without the code that is measured."""
    wanted = f"{MARK}={mark}".encode()
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            if wanted in (entry / "environ").read_bytes().split(b"\0"):
                found.append(int(entry.name))
        except OSError:
            continue
    return [pid for pid in found if pid != but]


def _carp_rows(folder: Path) -> list[Row]:
    (folder / "config.sh").write_text(CONFIG)
    carp = CarpRunner(CommandRunner(), folder / "config.sh")
    if not carp.carp_env["PATH"].startswith("/opt/carp/bin:"):
        raise WrongResultError("config.sh is not in the environment")
    first = []
    for _ in range(5):
        start = time.perf_counter()
        carp.reload_environment()
        first.append(1000 * (time.perf_counter() - start))
    start = time.perf_counter()
    for _ in range(CALLS):
        _ = carp.carp_env
    second = 1000 * (time.perf_counter() - start) / CALLS
    return [
        Row.of("second access to carp_env", [second], "ms", at_most=0.02),
        Row.of("sourcing config.sh", first, "ms"),
    ]


def _crowd_rows(runs: int) -> list[Row]:
    subjects = {name: _crowd(runners.runner(name)) for name in (OURS, BARE)}
    seconds = interleaved(subjects, max(1, runs // 5))
    rate = ratios(seconds[BARE], seconds[OURS])
    what = f"{COMMANDS} commands by 2 threads, rate over subprocess.run"
    return [Row.of(what, rate, "x", at_least=0.8)]


def _crowd(run: runners.Run) -> Callable[[], float]:
    def once() -> float:
        start = time.perf_counter()
        with ThreadPoolExecutor(2) as pool:
            list(pool.map(lambda _: run([TRUE]), range(COMMANDS)))
        return time.perf_counter() - start

    return once


def _end_trees(name: str, trees: int) -> None:
    """In a process of its own: run trees until their time is over, and say what is left."""
    from concurrent.futures import wait

    with ThreadPoolExecutor(AT_ONCE) as pool:
        wait([pool.submit(_end_tree, name) for _ in range(trees)])
    time.sleep(LOOK_AFTER)
    alive = _marked(os.environ[MARK], os.getpid())
    print(json.dumps({"alive": len(alive)}))
    sys.stdout.flush()
    os._exit(0)  # some libraries have threads that never end


def _end_tree(name: str) -> None:
    command = ["sh", "-c", TREE]
    if name == OURS:
        from pycemrg.system import process

        process.TERM_GRACE = 0.5
        CommandRunner().run(command, timeout=TIMEOUT)
    elif name == BARE:
        subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=TIMEOUT)
    elif name == "plumbum":
        from plumbum import local

        local["sh"]["-c", TREE].run(timeout=TIMEOUT)
    elif name == "invoke":
        import shlex

        import invoke

        invoke.run(shlex.join(command), hide=True, in_stream=False, timeout=TIMEOUT)
    else:
        import sh

        sh.Command("sh")("-c", TREE, _timeout=TIMEOUT)


if __name__ == "__main__":
    _end_trees(sys.argv[1], int(sys.argv[2]))
