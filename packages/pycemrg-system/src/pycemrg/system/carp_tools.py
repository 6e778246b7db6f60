"""The tools of CARPentry and openCARP: which are there, of which version, and do they start."""

import logging
import re
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from pycemrg.system import messages
from pycemrg.system.errors import CommandExecutionError, CommandTimeoutError
from pycemrg.system.result import CommandResult
from pycemrg.system.runner import CommandRunner


class Tool(NamedTuple):
    """A program, and what may be asked of it without any effect.

    Attributes:
        names: What it may be called; the first is its usual name.
        purpose: What it does.
        arguments: What makes it tell its version, or else a help, and end; None if nothing is
            known to do that.
        version: A pattern for the version in what it writes; None if that holds none.
        needed: Whether nothing can be done without it.
    """

    names: tuple[str, ...]
    purpose: str
    arguments: tuple[str, ...] | None
    version: str | None = None
    needed: bool = False


NUMBER = r"\b(v?\d+(?:\.\d+)+[\w.+-]*)"

PYTHON = Tool(("python", "python3"), "runs carputils", ("--version",), NUMBER)

TOOLS = (
    Tool(("openCARP",), "simulates tissue", ("-buildinfo",), r"GIT tag: *(\S+)", needed=True),
    Tool(("bench",), "simulates single cells", ("--version",), NUMBER),
    Tool(("mesher",), "makes simple meshes", ("+Help",)),
    Tool(("meshtool",), "changes meshes", ()),
    # It would open a window.
    Tool(("meshalyzer",), "shows meshes and results", None),
    # Both are scripts of carputils, which may write a settings file when it is loaded.
    Tool(("cusummary",), "tells what carputils works with", None),
    Tool(("carphelp",), "explains the parameters of openCARP", None),
    Tool(("mpirun", "mpiexec"), "runs openCARP on several cores", ("--version",), NUMBER),
    PYTHON,
)

_NOT_LOADED = re.compile(
    r".*(?:error while loading shared libraries|Error loading shared library|symbol lookup error"
    r"|version `\S+' not found|Library not loaded|Symbol not found).*"
)
"""What the loaders of glibc, musl and macOS say of a program that they cannot start."""

_FIND_CARPUTILS = """\
import importlib.metadata, importlib.util
found = importlib.util.find_spec("carputils")
if found is not None:
    try:
        print(importlib.metadata.version("carputils"))
    except importlib.metadata.PackageNotFoundError:
        print()  # it was found by PYTHONPATH, not installed
    print(list(found.submodule_search_locations)[0])
"""

# Nothing that a tool writes goes to a log: build information may hold a credential.
_NO_LOG = logging.Logger(__name__, logging.CRITICAL + 1)

_MOST_OUTPUT = 65_536


class Found(NamedTuple):
    """What is known of a program.

    Attributes:
        path: Where it is, None if it is not there.
        version: Its version, empty if that is not known.
        fault: What is wrong with it, empty if nothing is known to be.
    """

    path: Path | None
    version: str = ""
    fault: str = ""


class Probe:
    """Looks for programs in an environment, and asks them for their versions.

    Args:
        environment: Where to look, and what to run them with.
        folder: An empty folder to run them in.
        timeout: Seconds that each of them may take.

    Example:
        >>> probe = Probe({"PATH": "/usr/bin:/bin"}, Path("/"))
        >>> probe.find(Tool(("meshalizer",), "", None))
        Found(path=None, version='', fault='')
    """

    def __init__(self, environment: Mapping[str, str], folder: Path, timeout: float = 10.0) -> None:
        self._environment = environment
        self._folder = folder
        self._timeout = timeout

    def find(self, tool: Tool) -> Found:
        """Look for a program."""
        path = self._path_of(tool)
        if path is None or tool.arguments is None:
            return Found(path)
        try:
            result = self._run([path, *tool.arguments])
        except CommandTimeoutError:
            return Found(path, fault=self._silence)
        except CommandExecutionError as error:
            return Found(path, fault=_fault(error, answers=tool.version is not None))
        told = tool.version and re.search(tool.version, result.stdout + result.stderr)
        return Found(path, told[1] if told else "")

    def find_carputils(self, python: Path) -> Found:
        """Look for the carputils that a Python would import, without importing it."""
        try:
            result = self._run([python, "-c", _FIND_CARPUTILS])
        except CommandTimeoutError:
            return Found(None, fault=f"{python}: {self._silence}")
        except CommandExecutionError as error:
            return Found(None, fault=f"{python} {messages.describe_ending(error.returncode)}")
        version, folder = ["", "", *result.stdout.splitlines()][-2:]
        return Found(Path(folder) if folder else None, version)

    @property
    def _silence(self) -> str:
        return f"it does not answer within {self._timeout:g} s"

    def _path_of(self, tool: Tool) -> Path | None:
        for name in tool.names:
            if path := shutil.which(name, path=self._environment.get("PATH", "")):
                return Path(path).absolute()  # a PATH may hold relative folders
        return None

    def _run(self, cmd: Sequence[str | Path]) -> CommandResult:
        return CommandRunner(_NO_LOG).execute(
            cmd,
            cwd=self._folder,
            env=self._environment,
            timeout=self._timeout,
            max_capture=_MOST_OUTPUT,
        )


def _fault(error: CommandExecutionError, *, answers: bool) -> str:
    """Return what is wrong with a program that failed.

    If it is not known that it `answers` what it was asked, it may be in order all the same.
    """
    if error.duration is None:  # the system could not start it
        return str(error).splitlines()[0]
    if told := _NOT_LOADED.search(error.stderr):
        return told[0].strip()
    if answers or error.returncode < 0:
        return f"asked for its version, it {messages.describe_ending(error.returncode)}"
    return ""
