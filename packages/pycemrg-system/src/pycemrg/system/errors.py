"""What can go wrong with a command, as exceptions that hold their facts and survive a pickle."""

import errno
from collections.abc import Sequence
from pathlib import Path
from typing import Any


class CommandExecutionError(RuntimeError):
    """A command failed.

    It comes back from another process (``ProcessPoolExecutor``) with its type, text and attributes.

    Args:
        message: What happened, for a person to read.
        returncode: The exit code; negative is the number of the signal that ended the command, 127
            a program that was not found, 126 one that could not be started.
        stdout: What the command wrote to its standard output.
        stderr: What it wrote to its standard error; of more than 8 MiB the first 7 and the last.
        cmd: The command, one item an argument.
        cwd: The folder it ran in, None for the folder of this process.
        duration: How long it ran, in seconds.

    Attributes:
        record: The folder with its logs and ``result.json``, None without `log_dir`.

    Example:
        >>> error = CommandExecutionError("meshtool failed", 1, "", "no such mesh: heart.pts")
        >>> error.returncode, error.stderr
        (1, 'no such mesh: heart.pts')
        >>> "no such mesh" in error.stderr.lower()
        True
    """

    def __init__(
        self,
        message: str,
        returncode: int,
        stdout: str,
        stderr: str,
        *,
        cmd: Sequence[str] = (),
        cwd: Path | None = None,
        duration: float | None = None,
    ) -> None:
        super().__init__(message)
        self.returncode = returncode
        self.stdout = stdout
        self.stderr = stderr
        self.cmd = tuple(cmd)
        self.cwd = cwd
        self.duration = duration
        self.record: Path | None = None

    def __str__(self) -> str:
        # Beside an OSError the text would otherwise be made of errno and filename.
        return str(self.args[0])

    def __reduce__(self) -> tuple[Any, ...]:
        # An exception is rebuilt from `args`, which holds the message only.
        needed = (self.args[0], self.returncode, self.stdout, self.stderr)
        return type(self), needed, self.__dict__.copy()


class CommandTimeoutError(CommandExecutionError):
    """A command ran for longer than its `timeout` and was ended, with everything it had started.

    `returncode` says how it ended once it was told to, `stdout` and `stderr` hold what it had
    written.
    """


class CommandNotFoundError(CommandExecutionError, FileNotFoundError):
    """A program is not on the PATH of the command, or its interpreter is missing.

    `returncode` is 127, as a shell has it. `filename` is the program.
    """

    def __init__(
        self,
        message: str,
        returncode: int = 127,
        stdout: str = "",
        stderr: str = "",
        *,
        cmd: Sequence[str] = (),
        cwd: Path | None = None,
        duration: float | None = None,
    ) -> None:
        super().__init__(message, returncode, stdout, stderr, cmd=cmd, cwd=cwd, duration=duration)
        self.errno = errno.ENOENT
        self.filename = self.cmd[0] if self.cmd else None

    def __reduce__(self) -> tuple[Any, ...]:
        kind, needed, state = super().__reduce__()
        return kind, needed, {**state, "filename": self.filename}


class CarpEnvironmentError(RuntimeError):
    """A CARPentry ``config.sh`` could not be sourced, or did not set what CARPentry needs.

    The message holds what bash wrote and what to do.
    """
