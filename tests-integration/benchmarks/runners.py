"""The ways to run a command that are compared, each doing what it can in its own idiom."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

# By name, what runs a command and returns its standard output as text.
Run = Callable[[list[str]], str]

OURS, BARE = "pycemrg", "subprocess"
PEERS = ("plumbum", "invoke", "sh", "nipype")


def runner(name: str) -> Run:
    """Import a library, and give what runs a command by it."""
    return {
        OURS: _ours,
        BARE: _bare,
        "plumbum": _plumbum,
        "invoke": _invoke,
        "sh": _sh,
        "nipype": _nipype,
    }[name]()


def _ours() -> Run:
    from pycemrg.system import CommandRunner

    return CommandRunner().run


def _bare() -> Run:
    def run(command: list[str]) -> str:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=True
        )
        return done.stdout

    return run


def _plumbum() -> Run:
    from plumbum import local

    return lambda command: str(local[command[0]][command[1:]]())


def _invoke() -> Run:
    import shlex

    import invoke

    return lambda command: str(
        invoke.run(shlex.join(command), hide=True, in_stream=False).stdout  # type: ignore[union-attr]
    )


def _sh() -> Run:
    import sh

    return lambda command: str(sh.Command(command[0])(*command[1:]))


def _nipype() -> Run:
    from nipype.interfaces.base import CommandLine

    def run(command: list[str]) -> str:
        line = CommandLine(command=command[0], args=" ".join(command[1:]))
        line.terminal_output = "stream"
        return str(line.run().runtime.stdout)

    return run


def flood(name: str, command: list[str], log_dir: Path) -> int:
    """Run a command that writes much; give the characters of its standard output that arrived."""
    if name == OURS:
        from pycemrg.system import CommandRunner

        record = CommandRunner().execute(command, log_dir=log_dir).record
        assert record is not None
        return (record / "stdout.log").stat().st_size
    return len(runner(name)(command))


def peak_memory() -> int:
    """Give the peak of this process's resident memory in bytes, since it was reset."""
    status = Path("/proc/self/status").read_text(encoding="ascii", errors="replace")
    (line,) = (line for line in status.splitlines() if line.startswith("VmHWM:"))
    return int(line.split()[1]) * 1024


if __name__ == "__main__":
    # Alone in a process, so that its peak memory is that of one runner: NAME FOLDER COMMAND ...
    name, folder, *command = sys.argv[1:]
    runner(name)(["true"])
    # getrusage(2) would begin with the peak of whoever started this process; proc(5) has the reset.
    Path("/proc/self/clear_refs").write_text("5")
    before = peak_memory()
    arrived = flood(name, command, Path(folder))
    print(arrived, peak_memory() - before)
