"""What is known of a command that has ended."""

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path


@dataclass(frozen=True)
class CommandResult:
    """What is known of a command that has ended.

    Attributes:
        cmd: The command, one item an argument.
        cwd: The folder it ran in, None for the folder of this process.
        returncode: Its exit code, negative for a signal; not 0 only if `ignore_errors` excused it.
        stdout: What it wrote to its standard output: all, unless it was to be limited.
        stderr: What it wrote to its standard error; of more than 8 MiB the first 7 and the last.
        started: When it started, in UTC.
        duration: How long it ran, in seconds.
        peak_memory: The largest resident size, in bytes, of the command or one of the processes it
            started; None if the system does not say, or if that was less than the peak of this
            process, which Linux takes over into each child.
        cpu_time: The seconds of CPU time that these took; None if the system does not say.
        outputs: The expected outputs, as absolute paths.
        record: The folder with its logs and ``result.json``, None without `log_dir`.
    """

    cmd: tuple[str, ...]
    cwd: Path | None
    returncode: int
    stdout: str
    stderr: str
    started: datetime
    duration: float
    peak_memory: int | None = None
    cpu_time: float | None = None
    outputs: tuple[Path, ...] = ()
    record: Path | None = None
