"""What a CARPentry ``config.sh`` must set, and when to trust one that ends badly."""

import logging
import os
from collections.abc import Mapping
from pathlib import Path

from pycemrg.system import shell_env
from pycemrg.system.arguments import check_timeout
from pycemrg.system.errors import CarpEnvironmentError
from pycemrg.system.outputs import Stamp, stamp

REQUIRED = ("PATH", "LD_LIBRARY_PATH", "CARPENTRY_LICENSE", "CARPUTILS_SETTINGS")
"""Variables without which nothing of CARPentry runs. An empty one counts as set."""


class CarpConfig:
    """A ``config.sh``, loaded on demand.

    Args:
        path: Its absolute path.
        timeout: Seconds that sourcing it may take.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If `timeout` is not positive.
    """

    def __init__(self, path: Path, timeout: float) -> None:
        check_timeout(timeout)
        if stamp(path) is None:
            hint = "; it is in that folder" if (path / "config.sh").is_file() else ""
            raise FileNotFoundError(f"there is no CARPentry config.sh at {path}{hint}")
        self.config_path = path
        self._timeout = timeout
        self._loaded: Stamp | None = None

    @property
    def root(self) -> Path:
        """The folder of the installation."""
        return self.config_path.parent

    def has_changed(self) -> bool:
        """Return whether the file is another one than when it was loaded."""
        return stamp(self.config_path) != self._loaded

    def load(self, logger: logging.Logger) -> dict[str, str]:
        """Source the file and return the environment that it leaves.

        Raises:
            CarpEnvironmentError: If it cannot be sourced, its status is an error, or a required
                variable is missing.
        """
        logger.debug("sourcing %s", self.config_path)
        self._loaded = stamp(self.config_path)
        sourced = self._source(os.environ.copy(), logger)
        if sourced.status > 1:
            raise CarpEnvironmentError(
                f"{self.config_path}: sourcing it ended with status {sourced.status}"
                f"{sourced.messages}"
            )
        missing = [name for name in REQUIRED if name not in sourced.environment]
        if missing:
            raise CarpEnvironmentError(
                f"{self.config_path}: it does not set {', '.join(missing)} (or does not export it)"
                f"{sourced.messages}"
            )
        if sourced.status == 1:
            self._check_that_it_came_far(sourced, logger)
        return sourced.environment

    def _source(self, before: Mapping[str, str], logger: logging.Logger) -> shell_env.Sourced:
        return shell_env.source(
            self.config_path, before=before, timeout=self._timeout, logger=logger
        )

    def _check_that_it_came_far(self, sourced: shell_env.Sourced, logger: logging.Logger) -> None:
        """Tell a false test in the last line, which is harmless, from a `return 1` midway."""
        untouched = _untouched(sourced)
        if untouched:
            # If this process was started in a shell that has sourced the file, it sets what is set.
            untouched = _untouched(self._source(self._without_installation(), logger))
        if untouched:
            raise CarpEnvironmentError(
                f"{self.config_path}: sourcing it ended with status 1, and it has not set "
                f"{', '.join(untouched)} to anything new. If its last command is a test that may "
                f"be false, let the file end with 'return 0'{sourced.messages}"
            )
        logger.warning(
            "%s: sourcing it ended with status 1; used all the same, for it has set %s%s",
            self.config_path,
            ", ".join(REQUIRED),
            sourced.messages,
        )

    def _without_installation(self) -> dict[str, str]:
        """Return the environment of this process, less what comes from the installation."""
        folders = os.environ.get("PATH", "").split(os.pathsep)
        others = [folder for folder in folders if not Path(folder).is_relative_to(self.root)]
        kept = {name: value for name, value in os.environ.items() if name not in REQUIRED}
        return {**kept, "PATH": os.pathsep.join(others)}


def _untouched(sourced: shell_env.Sourced) -> list[str]:
    return [name for name in REQUIRED if not sourced.changed(name)]
