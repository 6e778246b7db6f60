"""What may be asked of a command, checked before anything is started."""

import os
import re
import shlex
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

_OPTION_WITH_VALUE = re.compile(r"(--?|\+)[A-Za-z][\w.-]*[ \t]+\S.*")


@dataclass(frozen=True)
class Order:
    """A command as it was ordered, checked."""

    argv: tuple[str, ...]
    cwd: Path | None
    env: Mapping[str, str] | None
    ignored: tuple[str, ...]
    timeout: float | None
    input: str | bytes | None
    stdin: IO[Any] | int | None

    @classmethod
    def checked(
        cls,
        cmd: Sequence[object],
        cwd: str | os.PathLike[str] | None,
        env: Mapping[str, str] | None,
        ignore_errors: Sequence[str] | None,
        timeout: float | None,
        input: str | bytes | None,
        stdin: IO[Any] | int | None,
    ) -> "Order":
        """Return the order, or raise what the functions of this module raise."""
        argv = tuple(checked_command(cmd))
        folder = checked_folder(cwd)
        ignored = checked_texts(ignore_errors)
        check_environment(env)
        check_timeout(timeout)
        check_input(input, stdin)
        return cls(argv, folder, env, ignored, timeout, input, stdin)

    @contextmanager
    def open_input(self) -> Iterator[IO[Any] | int]:
        """Give what the command reads: the input (text as UTF-8), a file, or nothing at all."""
        if self.input is None:
            yield subprocess.DEVNULL if self.stdin is None else self.stdin
            return
        # From a file the command reads when it likes, or never; a pipe needs a thread that writes.
        with tempfile.TemporaryFile() as file:
            file.write(self.input.encode() if isinstance(self.input, str) else self.input)
            file.seek(0)
            yield file


def checked_command(cmd: Sequence[object]) -> list[str]:
    """Return the arguments of a command as text.

    Raises:
        TypeError: If `cmd` is one text or path instead of several arguments.
        ValueError: If it is empty, names no program, or an argument holds a NUL character.

    Example:
        >>> checked_command(["mpirun", "-np", 4, Path("/opt/openCARP")])
        ['mpirun', '-np', '4', '/opt/openCARP']
        >>> checked_command("ls -la")
        Traceback (most recent call last):
        TypeError: cmd must be a list of arguments, not 'ls -la'; write ['ls', '-la']
    """
    if isinstance(cmd, str | bytes | os.PathLike):
        text = os.fsdecode(cmd)
        raise TypeError(f"cmd must be a list of arguments, not {text!r}; write {_split(text)!r}")
    argv = [os.fsdecode(p) if isinstance(p, str | bytes | os.PathLike) else str(p) for p in cmd]
    if not argv or not argv[0]:
        raise ValueError(f"cmd must begin with the name of a program: {argv!r}")
    for argument in argv:
        if "\0" in argument:
            raise ValueError(f"an argument cannot hold a NUL character: {argument!r}")
    return argv


def doubtful_arguments(argv: Sequence[str]) -> list[str]:
    """Return the arguments that look like an option and its value in one item.

    Example:
        >>> doubtful_arguments(["openCARP", "+F sim.par", "-simID", "out", "-vm_ref=-1 -2"])
        ['+F sim.par']
    """
    return [argument for argument in argv[1:] if _OPTION_WITH_VALUE.fullmatch(argument)]


def checked_folder(cwd: str | os.PathLike[str] | None) -> Path | None:
    """Return the folder to run in.

    Raises:
        FileNotFoundError: If there is no such folder.
        NotADirectoryError: If it is something else.
    """
    if cwd is None:
        return None
    folder = Path(cwd).absolute()
    if folder.is_dir():
        return folder
    if folder.exists():
        raise NotADirectoryError(f"cwd must be a folder, but this is none: {folder}")
    raise FileNotFoundError(f"there is no folder to run in: {folder}")


def checked_texts(ignore_errors: Sequence[str] | None) -> tuple[str, ...]:
    """Return the texts that excuse a failure.

    Raises:
        TypeError: If this is one text instead of several, or an item is no text.
        ValueError: If one is empty: it would be found in everything.
    """
    if isinstance(ignore_errors, str | bytes):
        raise TypeError(f"ignore_errors must be a list of texts; write [{ignore_errors!r}]")
    texts = tuple(ignore_errors or ())
    for text in texts:
        if not isinstance(text, str):
            raise TypeError(f"ignore_errors must hold texts, not {text!r}")
        if not text:
            raise ValueError("an empty text in ignore_errors would excuse every failure")
    return texts


def check_environment(env: Mapping[str, str] | None) -> None:
    """Check the environment of a command; its values appear in no message.

    Raises:
        TypeError: If a name or value is no text.
    """
    for name, value in (env or {}).items():
        if not (_is_path(name) and _is_path(value)):
            kind = type(value if _is_path(name) else name).__name__
            raise TypeError(f"env must hold texts; write str(...) for the {kind} of {name!r}")


def check_timeout(timeout: float | None) -> None:
    """Check a number of seconds.

    Raises:
        ValueError: If it is not more than 0.
    """
    if timeout is not None and not timeout > 0:
        raise ValueError(f"timeout must be more than 0 seconds, not {timeout!r}")


def check_input(data: str | bytes | None, stdin: IO[Any] | int | None) -> None:
    """Check what a command is to read.

    Raises:
        TypeError: If `data` is neither text nor bytes.
        ValueError: If both are given, or `stdin` is a pipe that nobody would write to.
    """
    if data is not None and stdin is not None:
        raise ValueError("give input= or stdin=, not both")
    if stdin == subprocess.PIPE:
        raise ValueError("nobody would write to stdin=PIPE; pass the data as input=")
    if data is not None and not isinstance(data, str | bytes):
        raise TypeError(f"input must be text or bytes, not {type(data).__name__}")


def _is_path(value: object) -> bool:
    return isinstance(value, str | bytes | os.PathLike)


def _split(text: str) -> list[str]:
    try:
        return shlex.split(text)
    except ValueError:  # a quote without its end
        return text.split()
