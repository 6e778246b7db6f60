"""Source a bash file and get the environment that it leaves, whatever else it does.

The file is sourced by a constant script, to which its path is an argument and never code. The
environment comes back through a descriptor of its own, so nothing that the file prints can be
mistaken for it.
"""

import logging
import os
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from pycemrg.system import process
from pycemrg.system.errors import CarpEnvironmentError
from pycemrg.system.streams import last_lines

BASH = "/bin/bash"

# $1 is the file, $2 the descriptor to report to.
# - 99: files use the descriptors 3 to 9, bash itself 10 and up and 255.
# - The file is sourced without arguments, for some look at "$@".
# - `bash -n` runs no `shopt`, so it must know extended patterns beforehand.
# - Neither `if source` nor `source ||`: either would turn off a `set -e` in the file.
# - No block with one redirection at the end: a DEBUG trap of the file would print into it.
_SCRIPT = """\
exec 99>&"$2"
__pycemrg_file=$1
set --
if ! BASH_ENV= "$BASH" --noprofile --norc -O extglob -n "$__pycemrg_file"; then
    builtin printf 'unparsed\\0' >&99
    exit
fi
builtin source "$__pycemrg_file"
builtin printf '%s\\0' "$?" >&99 && /usr/bin/env -0 >&99 && builtin printf 'whole\\0' >&99
"""

_BOOKKEEPING = ("_", "OLDPWD", "PWD", "SHLVL")
_MOST_MESSAGES = 65_536


@dataclass(frozen=True)
class Sourced:
    """What sourcing a file has come to.

    Attributes:
        status: The status of the file's last command, or of its `return`.
        environment: The whole environment afterwards, exported functions (``BASH_FUNC_x%%``) too.
            Values that are not UTF-8 are decoded as `os.fsdecode` does.
        before: The environment before.
        messages: The end of what the file printed, for a person to read; empty if nothing.
    """

    status: int
    environment: dict[str, str]
    before: Mapping[str, str]
    messages: str

    def changed(self, name: str) -> bool:
        """Return whether the file has set a variable to something new."""
        return name in self.environment and self.environment[name] != self.before.get(name)


def source(
    path: Path, *, before: Mapping[str, str], timeout: float, logger: logging.Logger
) -> Sourced:
    """Source a bash file in a fresh shell.

    Its standard input is empty. Whatever it has left running in the shell's session is ended.

    Args:
        path: The file, as an absolute path.
        before: The environment that the shell starts with.
        timeout: Seconds after which the shell is ended, with everything it started.
        logger: Is told about processes that had to be ended.

    Raises:
        CarpEnvironmentError: If there is no bash, it cannot read or parse the file, the file ends
            the shell, or the time is over.
    """
    with (
        tempfile.TemporaryFile() as report,
        tempfile.TemporaryFile() as stdout,
        tempfile.TemporaryFile() as stderr,
    ):
        ended = _run_bash(path, report, stdout, stderr, before, timeout, logger)
        messages = _messages(stdout, stderr)
        if ended.timed_out:
            raise CarpEnvironmentError(
                f"{path}: not sourced within {timeout:g} s; what does it wait for? If it only "
                f"needs longer, pass a larger source_timeout{messages}"
            )
        status, environment = _read_report(path, report, ended.returncode, messages)
    for name in _BOOKKEEPING:
        _put_back(environment, before, name)
    return Sourced(status, environment, before, messages)


def _run_bash(
    path: Path,
    report: IO[bytes],
    stdout: IO[bytes],
    stderr: IO[bytes],
    env: Mapping[str, str],
    timeout: float,
    logger: logging.Logger,
) -> process.Ended:
    if os.name != "posix":
        raise CarpEnvironmentError(f"{path}: only bash on a POSIX system can source it")
    bash = BASH if Path(BASH).exists() else shutil.which("bash")
    if bash is None:
        raise CarpEnvironmentError(f"{path}: there is no bash to source it; install one")
    descriptor = report.fileno()
    try:
        return process.run(
            [bash, "--noprofile", "--norc", "-c", _SCRIPT, "bash", str(path), str(descriptor)],
            stdout=stdout.fileno(),
            stderr=stderr.fileno(),
            env=env,
            pass_fds=[descriptor],
            timeout=timeout,
            sweep=True,
            logger=logger,
        )
    except process.NotStartedError as error:
        text = f"{path}: {bash} could not be started: {error.reason}"
        raise CarpEnvironmentError(text) from error.reason


def _read_report(
    path: Path, report: IO[bytes], returncode: int | None, messages: str
) -> tuple[int, dict[str, str]]:
    report.seek(0)
    status, *entries = report.read().removesuffix(b"\0").split(b"\0")
    if status == b"unparsed":
        raise CarpEnvironmentError(f"{path}: bash cannot read or parse it{messages}")
    if not status:
        raise CarpEnvironmentError(
            f"{path}: it ended the shell (exit code {returncode}) instead of coming to its end: it "
            f"calls exit, or a command failed under 'set -e'{messages}"
        )
    if not entries or entries.pop() != b"whole":
        raise CarpEnvironmentError(
            f"{path}: with the environment that it sets, /usr/bin/env does not run{messages}"
        )
    pairs = (os.fsdecode(entry).partition("=") for entry in entries)
    return int(status), {name: value for name, _, value in pairs}


def _put_back(environment: dict[str, str], before: Mapping[str, str], name: str) -> None:
    """Undo what the shell itself does to a variable."""
    environment.pop(name, None)
    if name in before:
        environment[name] = before[name]


def _messages(stdout: IO[bytes], stderr: IO[bytes]) -> str:
    """Return the end of both files, ready to stand behind a sentence."""
    text = ""
    for name, file in (("stderr", stderr), ("stdout", stdout)):
        file.seek(max(0, file.seek(0, os.SEEK_END) - _MOST_MESSAGES))
        if lines := last_lines(file.read().decode("utf-8", "backslashreplace")):
            text += f"\n{name}:" + "".join(f"\n  {line}" for line in lines)
    return text
