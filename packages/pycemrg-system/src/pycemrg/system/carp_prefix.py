"""The environment of an installation without ``config.sh``: conda, /usr, a plain prefix."""

import logging
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from pycemrg.system.errors import CarpEnvironmentError

SYSTEM_PREFIXES = ("/", "/usr")
"""Prefixes whose libraries every program finds.

First in the library path they would hide the ones that programs from elsewhere were built with.
"""


class CarpPrefix:
    """A folder whose ``bin`` holds the programs and whose ``lib`` holds what they load.

    Args:
        root: Its absolute path.

    Raises:
        FileNotFoundError: If it is not there, or has no ``bin``.
        NotADirectoryError: If it is no folder.
        ValueError: If its name holds a colon, which no PATH can hold.
    """

    config_path: None = None

    def __init__(self, root: Path) -> None:
        if not root.exists():
            raise FileNotFoundError(f"there is no installation at {root}")
        if not root.is_dir():
            raise NotADirectoryError(f"a prefix is a folder, but this is none: {root}")
        if not (root / "bin").is_dir():
            raise FileNotFoundError(f"{root} has no folder 'bin'{_where_it_may_be(root)}")
        if os.pathsep in str(root):
            raise ValueError(f"a folder in PATH cannot have {os.pathsep!r} in its name: {root}")
        self.root = root

    def has_changed(self) -> bool:
        """Return False: there is no file to be edited."""
        return False

    def load(self, logger: logging.Logger) -> dict[str, str]:
        """Return the environment of this process with the folders of the installation first.

        Raises:
            CarpEnvironmentError: If the installation is gone.
        """
        programs = self.root / "bin"
        if not programs.is_dir():
            raise CarpEnvironmentError(f"{programs} was there, and is gone")
        logger.debug("making the environment of %s", self.root)
        environment = os.environ.copy()
        environment["PATH"] = _first([programs], environment.get("PATH", os.defpath))
        if libraries := self._libraries():
            name = library_path()
            environment[name] = _first(libraries, environment.get(name, ""))
        if (self.root / "conda-meta").is_dir():
            environment["CONDA_PREFIX"] = str(self.root)
        return environment

    def _libraries(self) -> list[Path]:
        if os.path.realpath(self.root) in SYSTEM_PREFIXES:
            return []
        return [folder for name in ("lib", "lib64") if (folder := self.root / name).is_dir()]


def library_path() -> str:
    """Return the name of the variable in which the loader of this system looks for folders."""
    return "DYLD_LIBRARY_PATH" if sys.platform == "darwin" else "LD_LIBRARY_PATH"


def _first(folders: Sequence[Path], path: str) -> str:
    """Return a PATH with some folders moved, or put, to its beginning."""
    first = [str(folder) for folder in folders]
    # An empty PATH has no entries; an empty entry would mean the current folder.
    rest = path.split(os.pathsep) if path else []
    return os.pathsep.join([*first, *(entry for entry in rest if entry not in first)])


def _where_it_may_be(root: Path) -> str:
    if (root / "config.sh").is_file():
        return f"; it has a config.sh: CarpRunner(runner, {str(root / 'config.sh')!r})"
    if root.name == "bin":
        return f"; if it holds the programs itself, the prefix is {root.parent}"
    return "; a prefix is the folder above the 'bin' that holds the programs"
