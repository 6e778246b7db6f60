"""What went wrong with a command, in the words of its exception."""

import errno
import os
import shlex
import shutil
import signal
from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar

from pycemrg.system.arguments import Order
from pycemrg.system.errors import CommandExecutionError, CommandNotFoundError, CommandTimeoutError
from pycemrg.system.result import CommandResult
from pycemrg.system.streams import last_lines

_LONGEST_COMMAND = 1_000


def shown(argv: Sequence[str]) -> str:
    """Return a command as one would type it, shortened if nobody would.

    Example:
        >>> shown(["openCARP", "+F", "my case.par"])
        "openCARP +F 'my case.par'"
    """
    text = shlex.join(argv)
    return text if len(text) <= _LONGEST_COMMAND else f"{text[:_LONGEST_COMMAND]}..."


def signal_of(returncode: int) -> str | None:
    """Return the name of the signal that ended a command, or None if it ended by itself.

    Example:
        >>> signal_of(-11), signal_of(1)
        ('SIGSEGV', None)
    """
    if returncode >= 0:
        return None
    try:
        return signal.Signals(-returncode).name
    except ValueError:
        return f"signal {-returncode}"


def was_killed(returncode: int) -> bool:
    """Return whether SIGKILL ended a command, or a program that a shell or mpirun ran for it."""
    return signal_of(returncode) == "SIGKILL" or returncode == 128 + 9


def describe_ending(returncode: int | None) -> str:
    """Return how a command ended that did not succeed.

    Example:
        >>> describe_ending(139)
        'failed with exit code 139 (SIGSEGV)'
        >>> describe_ending(-6)
        'was ended by SIGABRT'
    """
    if returncode is None:
        return (
            "its exit code was lost, because this process ignores SIGCHLD or something else in it "
            "waits for every child; ended"
        )
    name = signal_of(returncode)
    hint = ", perhaps because the memory was full" if was_killed(returncode) else ""
    if name is not None:
        return f"was ended by {name}{hint}"
    if 128 < returncode < 128 + signal.NSIG:
        return f"failed with exit code {returncode} ({signal_of(128 - returncode)}{hint})"
    return f"failed with exit code {returncode}"


def failed(result: CommandResult, ending: str) -> CommandExecutionError:
    r"""Return the exception for a command that failed; `ending` says how.

    Example:
        >>> from datetime import UTC, datetime
        >>> now = datetime.now(UTC)
        >>> result = CommandResult(("meshtool",), None, 2, "", "reading\nno such mesh\n", now, 3.14)
        >>> print(failed(result, "failed with exit code 2"))
        meshtool: failed with exit code 2 after 3.1 s; last lines of stderr:
          reading
          no such mesh
    """
    return _exception(CommandExecutionError, result, f"{ending} after {result.duration:.1f} s")


def timed_out(result: CommandResult, timeout: float) -> CommandTimeoutError:
    """Return the exception for a command that was ended because its time was over."""
    return _exception(CommandTimeoutError, result, f"was ended after its timeout of {timeout:g} s")


_AnError = TypeVar("_AnError", bound=CommandExecutionError)


def _exception(kind: type[_AnError], result: CommandResult, what: str) -> _AnError:
    return kind(
        f"{shown(result.cmd)}: {what}{_last_words(result)}",
        result.returncode,
        result.stdout,
        result.stderr,
        cmd=result.cmd,
        cwd=result.cwd,
        duration=result.duration,
    )


def _last_words(result: CommandResult) -> str:
    """Return the end of stderr, or of stdout if that says nothing."""
    for name, text in (("stderr", result.stderr), ("stdout", result.stdout)):
        if lines := last_lines(text):
            return f"; last lines of {name}:" + "".join(f"\n  {line}" for line in lines)
    return "; it wrote nothing"


def not_started(order: Order, error: OSError) -> CommandExecutionError:
    """Return the exception for a program that the system could not start."""
    program = order.argv[0]
    if Path(program).name == program:
        path = (os.environ if order.env is None else order.env).get("PATH", os.defpath)
        found, where = shutil.which(program, os.F_OK, path), f"on the PATH of the command: {path}"
    else:
        place = Path(order.cwd or "", program).absolute()
        found, where = str(place) if _exists(place) else None, f"at {place}"
    if found is None:
        text = f"there is no program {program!r} {where}{_hint_at_blanks(program)}"
        return CommandNotFoundError(text, cmd=order.argv, cwd=order.cwd)
    if error.errno == errno.ENOENT:
        text = f"{found} is there, but {_interpreter(found)} is not"
        return CommandNotFoundError(text, cmd=order.argv, cwd=order.cwd)
    text = f"{found} could not be started: {_reason(found, order.cwd, error)}"
    return CommandExecutionError(text, 126, "", "", cmd=order.argv, cwd=order.cwd)


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except OSError:  # a name that is too long
        return False


def _hint_at_blanks(program: str) -> str:
    if not any(character.isspace() for character in program):
        return ""
    return f"\neach argument is an item of its own: {program.split()!r}"


def _interpreter(path: str) -> str:
    """Return what the system would have started a file with."""
    try:
        with Path(path).open("rb") as file:
            line = file.readline(500)
    except OSError:
        line = b""
    if not line.startswith(b"#!"):
        return "the loader that it names"
    return f"its interpreter {os.fsdecode(line[2:].strip())!r}"


def _reason(path: str, cwd: Path | None, error: OSError) -> str:
    if Path(path).is_dir():
        return "it is a folder"
    if error.errno == errno.EACCES and cwd is not None and not os.access(cwd, os.X_OK):
        return f"the folder to run in may not be entered: {cwd}"
    if error.errno == errno.EACCES and not os.access(path, os.X_OK):
        return f"it is not executable; make it so with chmod +x {shlex.quote(path)}"
    if error.errno == errno.ENOEXEC:
        return "neither a program of this machine nor a script whose first line begins with #!"
    return error.strerror or str(error)
