"""`pycemrg run`: a command, watched to its end, with what it had to write."""

import os
import re
import signal
import stat
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any, NoReturn

import click

if TYPE_CHECKING:
    from pycemrg.system import CommandExecutionError, CommandResult

TIMED_OUT = 124  # as timeout(1) has it
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
_PART = re.compile(r"(\d+(?:\.\d+)?)\s*([smhd]?)", re.ASCII)

everything_after = {"allow_interspersed_args": False}
"""Settings of a command whose last argument is another command, options and all."""


class Duration(click.ParamType):  # type: ignore[type-arg]  # generic since click 8.3 only
    """Seconds, or a number with a unit: ``90``, ``30m``, ``2h``, ``1h30m``, ``1d``."""

    name = "duration"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        """Return the seconds."""
        parts = _PART.findall(str(value))
        seconds = sum(float(number) * _UNITS[unit or "s"] for number, unit in parts)
        if "".join(number + unit for number, unit in parts) != str(value).replace(" ", ""):
            self.fail(f"{value!r} is no duration such as 90, 30m, 2h or 1h30m", param, ctx)
        if not seconds > 0:
            self.fail(f"{value!r} must be more than 0", param, ctx)
        return seconds


def run_options(command: Any) -> Any:
    """Add the options that `pycemrg run` and `pycemrg carp run` have in common."""
    folder = click.Path(file_okay=False, path_type=Path)
    for option in (
        click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED),
        click.option("--dry-run", is_flag=True, help="Show the command and do not start it."),
        click.option("--log-dir", type=folder, help="Keep all output and a record here."),
        click.option("--cwd", type=folder, help="The folder to run in."),
        click.option("--timeout", type=Duration(), help="End it after this time: 90, 30m, 2h."),
        click.option("--fresh", is_flag=True, help="Fail if an expected file was not touched."),
        click.option(
            "--expect",
            multiple=True,
            metavar="FILE",
            help="A file that must be there afterwards, relative to --cwd; may be repeated.",
        ),
    ):
        command = option(command)
    return command


@click.command(context_settings=everything_after)
@run_options
def run(command: Sequence[str], **options: Any) -> int:
    """Run COMMAND, pass its output through, and see that it ends and has written its files.

    pycemrg run --expect sim/vm.igb --timeout 2h -- openCARP +F sim.par

    The exit code is that of the command, 128 + N if signal N ended it, 124 after the timeout, and 1
    if it succeeded and a file is missing. Ctrl-C and SIGTERM end everything that it has started.
    """
    from pycemrg.system import CommandRunner

    return watch(CommandRunner().execute, command, **options)


def watch(
    execute: Any,
    command: Sequence[str],
    *,
    expect: Sequence[str],
    fresh: bool,
    timeout: float | None,
    cwd: Path | None,
    log_dir: Path | None,
    dry_run: bool,
) -> int:
    """Run a command by `execute`, say in one line how it went, and return the exit code.

    Args:
        execute: `CommandRunner.execute`, or what takes its arguments.
        command: The program and its arguments.
        expect: Files that must be there afterwards.
        fresh: Whether they must have been touched.
        timeout: In seconds.
        cwd: The folder to run in.
        log_dir: Where the record goes.
        dry_run: Whether to only show the command.
    """
    from pycemrg.system import CommandExecutionError, CommandTimeoutError

    if dry_run:
        click.echo(_shown(command))
        return 0
    try:
        with signals_as_exceptions():
            result: CommandResult = execute(
                command,
                expect,
                cwd,
                timeout=timeout,
                stdin=_own_stdin(),
                fresh_outputs=fresh,
                log_dir=log_dir,
                max_capture=1_000_000,
                echo=True,
            )
    except CommandTimeoutError as error:
        ending = f"was ended after its timeout of {timeout:g} s"
        return _say(f"{_shown(command)}: {ending}", error.record, TIMED_OUT)
    except CommandExecutionError as error:
        return _say(_how_it_failed(command, error), error.record, exit_code(error.returncode))
    except EndedBySignal as error:
        return _say(f"{_shown(command)}: ended by {error.name}", None, 128 + error.number)
    return _say(f"{_shown(command)}: succeeded after {_figures(result)}", result.record, 0)


def exit_code(returncode: int) -> int:
    """Return the exit code by which a shell would tell how a command ended.

    Example:
        >>> exit_code(3), exit_code(-9)
        (3, 137)
    """
    return returncode if returncode >= 0 else 128 - returncode


class EndedBySignal(KeyboardInterrupt):
    """A signal that would have ended this process; it ends what the process has started, too."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.name = signal.Signals(number).name
        super().__init__(self.name)


@contextmanager
def signals_as_exceptions() -> Iterator[None]:
    """Turn SIGINT, SIGTERM and SIGHUP into `EndedBySignal` until the block ends."""

    def end(number: int, _: FrameType | None) -> NoReturn:
        for each in before:
            signal.signal(each, signal.SIG_IGN)  # what is being ended needs its grace
        raise EndedBySignal(number)

    names = ("SIGINT", "SIGTERM", "SIGHUP")
    numbers = [getattr(signal, name) for name in names if hasattr(signal, name)]
    # What was ignored stays ignored: nohup(1) means it.
    before = {n: signal.getsignal(n) for n in numbers if signal.getsignal(n) != signal.SIG_IGN}
    for number in before:
        signal.signal(number, end)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _own_stdin() -> Any:
    """Return our standard input if it is a pipe or a file; a terminal would stop the command."""
    try:
        mode = os.fstat(0).st_mode
    except OSError:
        return None
    return sys.stdin if stat.S_ISFIFO(mode) or stat.S_ISREG(mode) or stat.S_ISSOCK(mode) else None


def _say(words: str, record: Path | None, status: int) -> int:
    click.echo(words if record is None else f"{words} (see {record})", err=True)
    return status


def _how_it_failed(command: Sequence[str], error: "CommandExecutionError") -> str:
    from pycemrg.system.messages import describe_ending

    if error.duration is None:
        return str(error)
    # Its last words have just passed by.
    return f"{_shown(command)}: after {error.duration:.1f} s {describe_ending(error.returncode)}"


def _figures(result: "CommandResult") -> str:
    memory = result.peak_memory
    return f"{result.duration:.1f} s" + (f", {memory / 1e6:,.0f} MB" if memory else "")


def _shown(command: Sequence[str]) -> str:
    from pycemrg.system.messages import shown

    return shown(command)
