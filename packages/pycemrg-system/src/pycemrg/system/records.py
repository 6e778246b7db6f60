"""What a run leaves for those who come later: its output, and how it went.

Each run has a folder of its own:

- ``command.sh`` repeats it;
- ``stdout.log`` and ``stderr.log`` hold what it wrote, to the byte, as it wrote it;
- ``result.json`` comes last, when the run is over. Without it the run goes on, or this process was
  killed.

``result.json`` is one object (`SCHEMA` counts up when a key changes its meaning or goes):

- ``schema``: 1; ``id``: the name of the folder
- ``status``: ``succeeded``, ``failed``, ``timed out``, ``interrupted``, ``not started`` or
  ``missing output``; ``error``: the message, null if it succeeded
- ``cmd``: a list; ``cwd`` and ``executable``: absolute paths, the latter null if there is none
- ``environment``: the variables that decide what a scientific program does, none that looks like a
  secret
- ``host``, ``started`` and ``ended`` (ISO 8601, UTC), ``duration`` (seconds), ``timeout`` (seconds
  or null)
- ``returncode``, ``signal`` (a name), ``peak_memory`` (bytes), ``cpu_time`` (seconds): null if
  unknown
- ``stdout`` and ``stderr``: ``path``, ``size`` (bytes), and whether it is ``complete``: false if
  the disk was full
- ``inputs`` (files that the command names) and ``outputs`` (that it had to write): ``path``,
  ``size`` (bytes), and ``sha256``, null for a folder or for an input that changed meanwhile
"""

import json
import logging
import os
import platform
import re
import secrets
import shlex
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pycemrg.core.whole_files import whole_file, write_whole
from pycemrg.system import messages
from pycemrg.system.arguments import Order
from pycemrg.system.environment import chosen
from pycemrg.system.errors import CommandExecutionError, CommandTimeoutError
from pycemrg.system.outputs import Stamp, stamp
from pycemrg.system.result import CommandResult
from pycemrg.system.streams import StreamName

SCHEMA = 1

logger = logging.getLogger(__name__)


class Log:
    """A stream on its way to a file; a full disk ends the log and not the command.

    Args:
        path: The file to write.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.size = 0
        self.complete = True
        self._file = path.open("wb", buffering=0)

    def write(self, data: bytes) -> None:
        """Write what comes next."""
        if not self.complete:
            return
        try:
            rest = memoryview(data)
            while rest:
                rest = rest[self._file.write(rest) :]
            self.size += len(data)
        except OSError as error:
            self.complete = False
            logger.warning("%s ends here, the command goes on: %s", self.path, error.strerror)

    def close(self) -> None:
        """Close the file."""
        self._file.close()


class RunRecord:
    """The folder of one run.

    Args:
        log_dir: Where the folder is made.
        order: The command.
        started: When it starts, in UTC.

    Raises:
        OSError: If the folder cannot be made or written.
    """

    def __init__(self, log_dir: str | os.PathLike[str], order: Order, started: datetime) -> None:
        self.folder = _new_folder(Path(log_dir).absolute(), order, started)
        self.result: CommandResult | None = None
        self._order = order
        self._started = started
        self._environment = chosen(os.environ if order.env is None else order.env)
        self._inputs = {path: stamp(path) for path in _files_named_in(order)}
        with whole_file(self.folder / "command.sh") as draft:
            # A name of a file may be no text; in a script it is the same bytes.
            draft.write_bytes(os.fsencode(_script(order, self._environment, started)))
            draft.chmod(0o755)
        self.logs: dict[StreamName, Log] = {
            "stdout": Log(self.folder / "stdout.log"),
            "stderr": Log(self.folder / "stderr.log"),
        }

    def finish(self, outputs: Sequence[Path], error: BaseException | None) -> None:
        """Say how the run went.

        Raises:
            OSError: If that cannot be written.
        """
        for log in self.logs.values():
            log.close()
        write_whole(self.folder / "result.json", json.dumps(self._facts(outputs, error), indent=1))

    def _facts(self, outputs: Sequence[Path], error: BaseException | None) -> dict[str, Any]:
        order, result = self._order, self.result
        returncode = result.returncode if result else getattr(error, "returncode", None)
        return {
            "schema": SCHEMA,
            "id": self.folder.name,
            "status": _status(error),
            "error": None if error is None else str(error) or type(error).__name__,
            "cmd": order.argv,
            "cwd": str(order.cwd or Path.cwd()),
            "executable": _executable(order),
            "environment": self._environment,
            "host": platform.node(),
            "started": self._started.isoformat(),
            "ended": datetime.now(UTC).isoformat(),
            "duration": result.duration if result else None,
            "timeout": order.timeout,
            "returncode": returncode,
            "signal": None if returncode is None else messages.signal_of(returncode),
            "peak_memory": result.peak_memory if result else None,
            "cpu_time": result.cpu_time if result else None,
            **{name: _log_facts(log) for name, log in self.logs.items()},
            "inputs": [
                _facts_of(path, before)
                for path, before in self._inputs.items()
                if path not in outputs
            ],
            "outputs": [_facts_of(path, stamp(path)) for path in outputs if path.exists()],
        }


@contextmanager
def recording(
    log_dir: str | os.PathLike[str] | None,
    order: Order,
    outputs: Sequence[Path],
    started: datetime,
) -> Iterator[RunRecord | None]:
    """Record what happens in the block; hand out None if nobody wants a record.

    An exception that passes through knows the folder afterwards, as its attribute ``record``.

    Raises:
        OSError: If the folder cannot be made.
    """
    if log_dir is None:
        yield None
        return
    record = RunRecord(log_dir, order, started)
    try:
        yield record
    except BaseException as error:
        if isinstance(error, CommandExecutionError):
            error.record = record.folder
        _finish(record, outputs, error)
        raise
    _finish(record, outputs, None)


def _finish(record: RunRecord, outputs: Sequence[Path], error: BaseException | None) -> None:
    try:
        record.finish(outputs, error)
    except OSError as problem:  # hours of computing are not lost for a record
        logger.warning("%s has no result.json: %s", record.folder, problem)


def _new_folder(log_dir: Path, order: Order, started: datetime) -> Path:
    program = re.sub(r"[^\w.-]", "_", Path(order.argv[0]).name, flags=re.ASCII)[:40]
    name = f"{started:%Y%m%dT%H%M%SZ}-{program}-{secrets.token_hex(3)}"
    folder = log_dir / name
    folder.mkdir(parents=True)
    return folder


def _script(order: Order, environment: Mapping[str, str], started: datetime) -> str:
    return "\n".join(
        [
            "#!/bin/sh",
            f"# {started:%Y-%m-%d %H:%M:%S} UTC on {platform.node()}",
            f"cd {shlex.quote(str(order.cwd or Path.cwd()))} || exit",
            *(f"export {name}={shlex.quote(value)}" for name, value in environment.items()),
            f"exec {shlex.join(order.argv)}",
            "",
        ]
    )


def _status(error: BaseException | None) -> str:
    if error is None:
        return "succeeded"
    if isinstance(error, CommandTimeoutError):
        return "timed out"
    if isinstance(error, CommandExecutionError):
        return "not started" if error.duration is None else "failed"
    return "missing output" if isinstance(error, FileNotFoundError) else "interrupted"


def _executable(order: Order) -> str | None:
    path = (os.environ if order.env is None else order.env).get("PATH", os.defpath)
    program = order.argv[0]
    if Path(program).name != program:
        program = str(Path(order.cwd or "", program).absolute())
    return shutil.which(program, path=path)


def _files_named_in(order: Order) -> list[Path]:
    """Return the files that the arguments name, alone or behind the ``=`` of an option."""
    folder = (order.cwd or Path()).absolute()
    words = [word for argument in order.argv[1:] for word in (argument, argument.partition("=")[2])]
    return list(dict.fromkeys(folder / word for word in words if word and _is_file(folder / word)))


def _is_file(path: Path) -> bool:
    return stamp(path) is not None


def _facts_of(path: Path, before: Stamp | None) -> dict[str, Any]:
    same = before is not None and stamp(path) == before
    return {
        "path": str(path),
        "size": before.size if before else None,
        "sha256": _sha256(path) if same else None,
    }


def _sha256(path: Path) -> str | None:
    import hashlib

    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return None


def _log_facts(log: Log) -> dict[str, Any]:
    return {"path": log.path.name, "size": log.size, "complete": log.complete}
