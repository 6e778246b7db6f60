"""Run a command without a shell, watch it, and check what it leaves behind."""

import logging
import os
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import IO, Any, TypedDict

from pycemrg.system import messages, process
from pycemrg.system.arguments import Order, doubtful_arguments
from pycemrg.system.errors import CommandExecutionError, CommandNotFoundError, CommandTimeoutError
from pycemrg.system.outputs import ExpectedOutputs
from pycemrg.system.records import RunRecord, recording
from pycemrg.system.result import CommandResult
from pycemrg.system.streams import Capture, Echo, Finder, Lines, OutputLine, Sink, StreamName, Tee

__all__ = [
    "CommandExecutionError",
    "CommandNotFoundError",
    "CommandResult",
    "CommandRunner",
    "CommandTimeoutError",
    "OutputLine",
    "RunOptions",
]

CAPTURE_LIMIT = 8 * 1_048_576
"""Bytes kept of stderr, and of stdout if the whole is in a log."""

_EXIT_CODE_LOST = 255


class RunOptions(TypedDict, total=False):
    """The keyword-only arguments of `CommandRunner.run`."""

    timeout: float | None
    on_output: Callable[[OutputLine], object] | None
    input: str | bytes | None
    stdin: IO[Any] | int | None
    dry_run: bool
    fresh_outputs: bool
    log_dir: str | os.PathLike[str] | None
    max_capture: int | None
    echo: bool


class CommandRunner:
    r"""Runs commands.

    Each command is logged as it starts (INFO), and each line that it writes as it comes (DEBUG).
    Nothing of its environment is.

    Args:
        logger: Where messages go; by default the logger of this module.

    Example:
        >>> runner = CommandRunner()
        >>> runner.run(["echo", "3 meshes"])
        '3 meshes\n'
    """

    def __init__(self, logger: logging.Logger | None = None) -> None:
        self.logger = logger or logging.getLogger(__name__)

    def run(
        self,
        cmd: Sequence[str | os.PathLike[str]],
        expected_outputs: Sequence[str | os.PathLike[str]] | None = None,
        cwd: str | os.PathLike[str] | None = None,
        ignore_errors: Sequence[str] | None = None,
        env: Mapping[str, str] | None = None,
        *,
        timeout: float | None = None,
        on_output: Callable[[OutputLine], object] | None = None,
        input: str | bytes | None = None,
        stdin: IO[Any] | int | None = None,
        dry_run: bool = False,
        fresh_outputs: bool = False,
        log_dir: str | os.PathLike[str] | None = None,
        max_capture: int | None = None,
        echo: bool = False,
    ) -> str:
        r"""Run a command and return what it wrote to its standard output.

        There is no shell: each item is one argument, blanks and all. The command has no controlling
        terminal. When it ends, times out or is interrupted, nothing of the session that it was
        started in is left to hold its output or, after a timeout, to run at all. A signal such as
        SIGTERM that ends this process at once leaves the command running, unless the program turns
        it into an exception: ``signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))``.

        Args:
            cmd: The program and its arguments; each item is turned into text.
            expected_outputs: Files or folders that must exist afterwards. Relative ones are looked
                up in `cwd` if that is given. A file that the command has not touched is warned of.
            cwd: The folder to run in.
            ignore_errors: Texts. If the command fails and one of them is in its stderr, that is a
                warning. A timeout or SIGKILL is never excused.
            env: The whole environment; by default that of this process. The program is looked up
                on the PATH in it.
            timeout: Seconds after which the command is ended, with everything it started.
            on_output: Is called in this thread with each line as it is written; the line knows its
                `stream`. If it raises, the command is ended.
            input: What the command reads; text is passed as UTF-8.
            stdin: An open file to read from. By default there is nothing to read.
            dry_run: Log the command, but do not start it; the result is empty text.
            fresh_outputs: Whether an expected file that was there before and has not been touched
                is an error instead of a warning.
            log_dir: A folder in which the run gets one of its own, with all that the command
                writes and a record of how it went (`pycemrg.system.records`).
            max_capture: Bytes of each stream to keep in memory: of more, the first seven eighths
                and the last. By default all of stdout is kept without `log_dir`, and else 8 MiB.
            echo: Whether what the command writes is also written to the standard output and
                standard error of this process, as it comes.

        Returns:
            What stdout held. Bytes that are not UTF-8 appear as ``\xNN``.

        Raises:
            CommandExecutionError: If the command fails, or cannot be started.
            CommandTimeoutError: If its time is over; a CommandExecutionError.
            CommandNotFoundError: If there is no such program; a CommandExecutionError and a
                FileNotFoundError.
            FileNotFoundError: If an expected output is missing, or `cwd`.
            NotADirectoryError: If `cwd` is not a folder.
            TypeError: If a list of texts or paths is one text or path, or `env` holds other things.
            ValueError: If `cmd` or a text to ignore is empty, or a limit is not positive.
            OSError: If `log_dir` cannot be written.

        Example:
            >>> import tempfile
            >>> folder = tempfile.mkdtemp()
            >>> runner = CommandRunner()
            >>> runner.run(["touch", "heart.pts"], expected_outputs=["heart.pts"], cwd=folder)
            ''
            >>> runner.run(["sort"], input="RV\nLV\n", on_output=print)
            LV
            RV
            'LV\nRV\n'
        """
        return self.execute(
            cmd,
            expected_outputs,
            cwd,
            ignore_errors,
            env,
            timeout=timeout,
            on_output=on_output,
            input=input,
            stdin=stdin,
            dry_run=dry_run,
            fresh_outputs=fresh_outputs,
            log_dir=log_dir,
            max_capture=max_capture,
            echo=echo,
        ).stdout

    def execute(
        self,
        cmd: Sequence[str | os.PathLike[str]],
        expected_outputs: Sequence[str | os.PathLike[str]] | None = None,
        cwd: str | os.PathLike[str] | None = None,
        ignore_errors: Sequence[str] | None = None,
        env: Mapping[str, str] | None = None,
        *,
        timeout: float | None = None,
        on_output: Callable[[OutputLine], object] | None = None,
        input: str | bytes | None = None,
        stdin: IO[Any] | int | None = None,
        dry_run: bool = False,
        fresh_outputs: bool = False,
        log_dir: str | os.PathLike[str] | None = None,
        max_capture: int | None = None,
        echo: bool = False,
    ) -> CommandResult:
        r"""Run a command and return all that is known of it; for the arguments see `run`.

        Example:
            >>> result = CommandRunner().execute(["sh", "-c", "echo slow mesh >&2"])
            >>> result.returncode, result.stderr
            (0, 'slow mesh\n')
        """
        order = Order.checked(cmd, cwd, env, ignore_errors, timeout, input, stdin)
        limits = _limits(max_capture, log_dir)
        outputs = ExpectedOutputs(expected_outputs, order.cwd)
        self._announce(order, dry_run)
        started = datetime.now(UTC)
        if dry_run:
            return CommandResult(order.argv, order.cwd, 0, "", "", started, 0.0)
        with recording(log_dir, order, outputs.paths, started) as record:
            written = _Written(self._line_receiver(on_output), order.ignored, limits, record, echo)
            ended = self._follow(order, written)
            result = _result(order, outputs, started, written, ended, record)
            if ended.timed_out and order.timeout is not None:
                raise messages.timed_out(result, order.timeout)
            if ended.returncode != 0:
                ending = messages.describe_ending(ended.returncode)
                self._excuse(result, ending, written.excuse.found)
            self.logger.debug("%s: took %.1f s", messages.shown(order.argv), result.duration)
            outputs.check(messages.shown(order.argv), fresh=fresh_outputs, logger=self.logger)
        return result

    def _announce(self, order: Order, dry_run: bool) -> None:
        for argument in doubtful_arguments(order.argv):
            self.logger.warning(
                "%r is one argument; an option and its value are two: %r",
                argument,
                argument.split(maxsplit=1),
            )
        what = "would run" if dry_run else "running"
        where = f" in {order.cwd}" if order.cwd else ""
        self.logger.info("%s%s: %s", what, where, messages.shown(order.argv))

    def _line_receiver(
        self, on_output: Callable[[OutputLine], object] | None
    ) -> Callable[[OutputLine], object] | None:
        """Return what takes each line, or None if nobody wants lines: cutting them takes time."""
        if not self.logger.isEnabledFor(logging.DEBUG):
            return on_output

        def receive(line: OutputLine) -> None:
            self.logger.debug("%s: %s", line.stream, line)
            if on_output is not None:
                on_output(line)

        return receive

    def _follow(self, order: Order, written: "_Written") -> process.Ended:
        with order.open_input() as source:
            try:
                ended = process.run(
                    order.argv,
                    stdin=source,
                    stdout=written.sink("stdout"),
                    stderr=written.sink("stderr"),
                    cwd=order.cwd,
                    env=order.env,
                    timeout=order.timeout,
                    logger=self.logger,
                )
            except process.NotStartedError as error:
                raise messages.not_started(order, error.reason) from error.reason
        written.close()
        return ended

    def _excuse(self, result: CommandResult, ending: str, excuse: str | None) -> None:
        """Warn about a failure that a text in stderr excuses, raise any other."""
        if excuse is None or messages.was_killed(result.returncode):
            raise messages.failed(result, ending)
        self.logger.warning(
            "%s: %s, ignored for %r in its stderr", messages.shown(result.cmd), ending, excuse
        )


def _limits(
    max_capture: int | None, log_dir: str | os.PathLike[str] | None
) -> dict[StreamName, int | None]:
    """Return how many bytes of each stream are kept in memory, None for all."""
    if max_capture is not None and max_capture < 1:
        raise ValueError(f"max_capture must be 1 byte or more, not {max_capture!r}")
    limit = max_capture or CAPTURE_LIMIT
    unlimited = max_capture is None and log_dir is None
    return {"stdout": None if unlimited else limit, "stderr": limit}


def _capture(limit: int | None) -> Capture:
    """Keep more of the beginning, where a parser looks; the last words are few."""
    return Capture() if limit is None else Capture(limit - limit // 8, limit // 8)


def _result(
    order: Order,
    outputs: ExpectedOutputs,
    started: datetime,
    written: "_Written",
    ended: process.Ended,
    record: RunRecord | None,
) -> CommandResult:
    result = CommandResult(
        cmd=order.argv,
        cwd=order.cwd,
        returncode=_EXIT_CODE_LOST if ended.returncode is None else ended.returncode,
        stdout=written.stdout.text(),
        stderr=written.stderr.text(),
        started=started,
        duration=ended.duration,
        peak_memory=ended.peak_memory,
        cpu_time=ended.cpu_time,
        outputs=outputs.paths,
        record=record.folder if record else None,
    )
    if record:
        record.result = result
    return result


class _Written:
    """What a command writes, and where it goes: to the log first, whatever the others do."""

    def __init__(
        self,
        receive: Callable[[OutputLine], object] | None,
        ignored: Sequence[str],
        limits: Mapping[StreamName, int | None],
        record: RunRecord | None,
        echo: bool,
    ) -> None:
        self.stdout, self.stderr = (_capture(limits[name]) for name in ("stdout", "stderr"))
        self.excuse = Finder(ignored)
        self._sinks: dict[StreamName, list[Sink]] = {
            "stdout": [self.stdout],
            "stderr": [self.stderr, self.excuse],
        }
        self._lines = [Lines(name, receive) for name in self._sinks] if receive else []
        for sinks, lines in zip(self._sinks.values(), self._lines, strict=False):
            sinks.append(lines)
        for name, log in record.logs.items() if record else ():
            self._sinks[name].insert(0, log)
        if echo:
            self._sinks["stdout"].append(Echo(1))
            self._sinks["stderr"].append(Echo(2))

    def sink(self, name: StreamName) -> Sink:
        return Tee(self._sinks[name])

    def close(self) -> None:
        for lines in self._lines:
            lines.close()
