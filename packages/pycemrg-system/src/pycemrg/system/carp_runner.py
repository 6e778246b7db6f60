"""Run commands of CARPentry and openCARP in the environment of an installation."""

import logging
import os
import shutil
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Protocol, Self, Unpack

from pycemrg.system.carp_config import CarpConfig
from pycemrg.system.carp_prefix import CarpPrefix
from pycemrg.system.errors import CarpEnvironmentError
from pycemrg.system.result import CommandResult
from pycemrg.system.runner import CommandRunner, RunOptions

__all__ = ["CarpEnvironmentError", "CarpRunner"]

DEFAULT_SEARCH_PATHS = (
    "~/carpentry_bundle",
    "~/CARPentry",
    "~/opencarp",
    "/opt/carpentry_bundle",
    "/opt/CARPentry",
    "/usr/local/carpentry_bundle",
)


class EnvironmentSource(Protocol):
    """What makes the environment of an installation."""

    @property
    def root(self) -> Path:
        """The folder of the installation."""

    @property
    def config_path(self) -> Path | None:
        """The ``config.sh``, None if the installation has none."""

    def load(self, logger: logging.Logger) -> dict[str, str]:
        """Return the environment; raise a CarpEnvironmentError if that cannot be done."""

    def has_changed(self) -> bool:
        """Return whether `load` would now read another file than it last did."""


class CarpRunner:
    r"""Runs commands in the environment that a CARPentry ``config.sh`` sets up.

    The file is sourced when its environment is first needed, once. For an installation without
    one there is `from_prefix`.

    Args:
        runner: Runs the commands.
        carp_config_path: The ``config.sh`` of the installation.
        source_timeout: Seconds that sourcing it may take.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If `source_timeout` is not positive.

    Example:
        >>> import tempfile
        >>> root = Path(tempfile.mkdtemp())
        >>> _ = (root / "config.sh").write_text('''
        ...     export PATH="$PATH:/opt/carp/bin" LD_LIBRARY_PATH=/opt/carp/lib
        ...     export CARPENTRY_LICENSE=/opt/carp/license.bin
        ...     export CARPUTILS_SETTINGS=/opt/carp/settings.yaml
        ... ''')
        >>> carp = CarpRunner(CommandRunner(), root / "config.sh")
        >>> carp.carp_env["LD_LIBRARY_PATH"]
        '/opt/carp/lib'
        >>> carp.run(["printenv", "CARPENTRY_LICENSE"])
        '/opt/carp/license.bin\n'
    """

    def __init__(
        self,
        runner: CommandRunner,
        carp_config_path: str | os.PathLike[str],
        *,
        source_timeout: float = 30.0,
    ) -> None:
        self._take(runner, CarpConfig(_absolute(carp_config_path), source_timeout))

    @classmethod
    def from_prefix(cls, runner: CommandRunner, prefix: str | os.PathLike[str]) -> Self:
        """Return a runner for an installation without ``config.sh``.

        That is a conda environment, the packages of a distribution (prefix ``/usr``), or a folder
        with a ``bin`` such as ``/usr/local/lib/opencarp``. Its environment is that of this process
        with ``bin`` first in PATH and, except for ``/usr``, ``lib`` and ``lib64`` first in
        LD_LIBRARY_PATH (on macOS DYLD_LIBRARY_PATH); CONDA_PREFIX is set for a conda environment.
        CARPENTRY_LICENSE and CARPUTILS_SETTINGS are as they are in this process, set or not.

        Args:
            runner: Runs the commands.
            prefix: The folder.

        Raises:
            FileNotFoundError: If it is not there, or has no ``bin``.
            NotADirectoryError: If it is no folder.
            ValueError: If its name holds a colon, which no PATH can hold.

        Example:
            >>> carp = CarpRunner.from_prefix(CommandRunner(), "/usr")
            >>> carp.carp_env["PATH"].split(":")[0]
            '/usr/bin'
            >>> print(carp.get_carp_path("share/opencarp"))
            /usr/share/opencarp
        """
        carp = cls.__new__(cls)
        carp._take(runner, CarpPrefix(_absolute(prefix)))
        return carp

    def _take(self, runner: CommandRunner, source: EnvironmentSource) -> None:
        self.runner = runner
        self._logger = getattr(runner, "logger", logging.getLogger(__name__))
        self._source = source
        self._environment: dict[str, str] | None = None
        self._warned = False

    @property
    def carp_env(self) -> dict[str, str]:
        """The whole environment of the installation, as a copy of its own.

        Raises:
            CarpEnvironmentError: If ``config.sh`` cannot be sourced, or does not set what
                CARPentry needs.
        """
        if self._environment is None:
            self._environment = self._source.load(self._logger)
        elif not self._warned and self._source.has_changed():
            self._warned = True
            self._logger.warning(
                "%s has changed since it was sourced; call reload_environment() to see that",
                self._source.config_path,
            )
        return dict(self._environment)

    @property
    def installation_root(self) -> Path:
        """The absolute path of the installation: the folder of ``config.sh``, or the prefix."""
        return self._source.root

    @property
    def config_path(self) -> Path | None:
        """The absolute path of ``config.sh``, None for an installation `from_prefix`."""
        return self._source.config_path

    def run(
        self,
        cmd: Sequence[str | os.PathLike[str]],
        expected_outputs: Sequence[str | os.PathLike[str]] | None = None,
        cwd: str | os.PathLike[str] | None = None,
        ignore_errors: Sequence[str] | None = None,
        **options: Unpack[RunOptions],
    ) -> str:
        """Run a command in the environment of the installation; return its stdout.

        The program is looked up on the PATH in it.

        Args:
            cmd: The program and its arguments.
            expected_outputs: Files that must exist afterwards; relative ones in `cwd`, if given.
            cwd: The folder to run in.
            ignore_errors: Texts in stderr that make a failure a warning.
            **options: The keyword-only arguments of `CommandRunner.run`.

        Raises:
            CommandExecutionError: If the command fails.
            CarpEnvironmentError: If the environment cannot be loaded.
            FileNotFoundError: If an expected output is missing.
        """
        return self.runner.run(
            cmd,
            expected_outputs=expected_outputs,
            cwd=cwd,
            ignore_errors=ignore_errors,
            env=self.carp_env,
            **options,
        )

    def execute(
        self,
        cmd: Sequence[str | os.PathLike[str]],
        expected_outputs: Sequence[str | os.PathLike[str]] | None = None,
        cwd: str | os.PathLike[str] | None = None,
        ignore_errors: Sequence[str] | None = None,
        **options: Unpack[RunOptions],
    ) -> CommandResult:
        """Run a command in the environment of the installation; return all that is known of it.

        For arguments and exceptions see `run`.
        """
        return self.runner.execute(
            cmd,
            expected_outputs=expected_outputs,
            cwd=cwd,
            ignore_errors=ignore_errors,
            env=self.carp_env,
            **options,
        )

    def reload_environment(self) -> None:
        """Source ``config.sh`` again, or look at the prefix and at this process again.

        Raises:
            CarpEnvironmentError: If that fails. The environment from before is gone then.
        """
        self._environment = None
        self._warned = False
        self._environment = self._source.load(self._logger)

    def get_carp_path(self, relative_path: str | os.PathLike[str] = "") -> Path:
        """Return the absolute path of something in the installation, whether it exists or not."""
        return self.installation_root / relative_path

    def validate_command_exists(self, command: str) -> bool:
        """Return whether a program is on the PATH of the installation, and executable.

        Raises:
            CarpEnvironmentError: If the environment cannot be loaded.
        """
        return shutil.which(command, path=self.carp_env["PATH"]) is not None

    def get_carputils_settings_path(self) -> Path | None:
        """Return the settings file of carputils, None if CARPUTILS_SETTINGS is not set or empty.

        Raises:
            CarpEnvironmentError: If the environment cannot be loaded.
        """
        return self._path_in("CARPUTILS_SETTINGS")

    def get_license_path(self) -> Path | None:
        """Return the licence file, None if CARPENTRY_LICENSE is not set or empty.

        Raises:
            CarpEnvironmentError: If the environment cannot be loaded.
        """
        return self._path_in("CARPENTRY_LICENSE")

    @classmethod
    def find_installation(
        cls, search_paths: Sequence[str | os.PathLike[str]] | None = None
    ) -> Path | None:
        """Look for an installation.

        Args:
            search_paths: Folders to look in, in this order. By default ``~/carpentry_bundle``,
                ``~/CARPentry``, ``~/opencarp``, ``/opt/carpentry_bundle``, ``/opt/CARPentry`` and
                ``/usr/local/carpentry_bundle``.

        Returns:
            The absolute path of the first ``config.sh``, None if there is none.

        Raises:
            TypeError: If `search_paths` is one path.

        Example:
            >>> CarpRunner.find_installation([Path("/no/such/folder")]) is None
            True
        """
        if isinstance(search_paths, str | bytes | os.PathLike):
            raise TypeError(f"search_paths must be a list of folders, not {search_paths!r} alone")
        for folder in DEFAULT_SEARCH_PATHS if search_paths is None else search_paths:
            config = _absolute(folder) / "config.sh"
            with suppress(PermissionError):
                if config.is_file():
                    return config
        return None

    def _path_in(self, variable: str) -> Path | None:
        value = self.carp_env.get(variable)
        return _absolute(value) if value else None


def _absolute(path: str | os.PathLike[str]) -> Path:
    path = Path(path)
    with suppress(RuntimeError):  # no home folder is known
        path = path.expanduser()
    return Path(os.path.abspath(path))  # noqa: PTH100 - resolve() would follow symbolic links
