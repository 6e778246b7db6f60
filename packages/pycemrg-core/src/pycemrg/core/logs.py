"""Logging for programs: one line a message on the console, everything in the file."""

import logging
import os
import sys
from pathlib import Path
from typing import TextIO

from pycemrg.core.whole_files import make_folder

CONSOLE_FORMAT = "[%(name)s] %(message)s"
FILE_FORMAT = "%(asctime)s %(levelname)s %(name)s: %(message)s"


def setup_logging(
    log_level: int | str = logging.INFO, log_file: str | os.PathLike[str] | None = None
) -> None:
    r"""Send log messages to stderr and, if asked, to a file.

    The console shows messages from `log_level` up as ``[name] message``. The file, opened for
    appending, holds everything from DEBUG up with time, level and logger; its folder is made. A
    second call replaces what the first one installed. Handlers that others put on the root logger
    stay and print what they printed before; only a plain ``StreamHandler`` to stdout or stderr is
    taken away, because every line would appear twice.

    Args:
        log_level: The least level that the console shows, such as ``logging.DEBUG`` or ``"DEBUG"``.
        log_file: The file to append to.

    Raises:
        ValueError: If `log_level` is not the name of a level.
        OSError: If the log file cannot be opened. The logging set up before stays in place.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp(), "logs", "pipeline.log")
        >>> setup_logging(log_level=logging.WARNING, log_file=path)
        >>> logging.getLogger("demo").debug("only in the file")
        >>> path.read_text().endswith("DEBUG demo: only in the file\n")
        True
    """
    root = logging.getLogger()
    console = _Console(root_level=_level_without_us(root))
    console.setLevel(log_level)
    installed: list[_Console | _LogFile] = [console]
    if log_file is not None:
        make_folder(Path(log_file).parent)
        installed.append(_LogFile(log_file, encoding="utf-8"))

    for handler in list(root.handlers):
        if isinstance(handler, _Console | _LogFile):
            root.removeHandler(handler)
            handler.close()
        elif _prints_to_console(handler):
            root.removeHandler(handler)
    _free_others(root)
    if log_file is not None:
        _hold_back_others(root, min(console.level, console.root_level))
    for handler in installed:
        root.addHandler(handler)
    root.setLevel(logging.DEBUG if log_file is not None else console.level)


class _Console(logging.StreamHandler[TextIO]):
    """Writes to whatever `sys.stderr` is at the time, and remembers the root's level before us."""

    def __init__(self, root_level: int) -> None:
        logging.Handler.__init__(self)
        self.root_level = root_level
        self.setFormatter(logging.Formatter(CONSOLE_FORMAT))

    @property
    def stream(self) -> TextIO:  # type: ignore[override]
        return sys.stderr


class _LogFile(logging.FileHandler):
    def __init__(self, path: str | os.PathLike[str], encoding: str) -> None:
        super().__init__(path, encoding=encoding, errors="backslashreplace")
        self.setLevel(logging.DEBUG)
        self.setFormatter(logging.Formatter(FILE_FORMAT))


class _NoFinerThan(logging.Filter):
    """Keeps a handler of others at the level that it saw before the root logger was opened up.

    Whoever gives the handler another level afterwards wants to see just that.
    """

    def __init__(self, level: int, handler: logging.Handler) -> None:
        super().__init__()
        self.level = level
        self.handler = handler
        self.level_of_handler = handler.level

    def filter(self, record: logging.LogRecord) -> bool:
        chosen_since = self.handler.level != self.level_of_handler
        return chosen_since or record.levelno >= self.level


def _level_without_us(root: logging.Logger) -> int:
    for handler in root.handlers:
        if isinstance(handler, _Console):
            return handler.root_level
    return root.level


def _prints_to_console(handler: logging.Handler) -> bool:
    console = (sys.stdout, sys.stderr, sys.__stdout__, sys.__stderr__)
    return type(handler) is logging.StreamHandler and handler.stream in console


def _free_others(root: logging.Logger) -> None:
    for handler in root.handlers:
        for old in [item for item in handler.filters if isinstance(item, _NoFinerThan)]:
            handler.removeFilter(old)


def _hold_back_others(root: logging.Logger, level: int) -> None:
    for handler in root.handlers:
        handler.addFilter(_NoFinerThan(level, handler))
