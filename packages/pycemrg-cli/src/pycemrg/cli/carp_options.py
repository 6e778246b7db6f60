"""Which installation a command of `pycemrg carp` is about, and what may end its loading."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pycemrg.cli.run import Duration, EndedBySignal, signals_as_exceptions

if TYPE_CHECKING:
    from pycemrg.system import CarpRunner


def installation_options(command: Any) -> Any:
    """Add the options that name an installation; `load_carp` takes what they are given."""
    path = click.Path(path_type=Path)
    for option in (
        click.option(
            "--source-timeout",
            type=Duration(),
            default="30s",
            show_default=True,
            help="How long config.sh may take.",
        ),
        click.option(
            "--prefix",
            type=path,
            metavar="DIR",
            help="An installation without config.sh: the folder that holds its bin.",
        ),
        click.option("--config", type=path, metavar="FILE|DIR", help="A config.sh, or its folder."),
    ):
        command = option(command)
    return command


def load_carp(config: Path | None, prefix: Path | None, source_timeout: float) -> "CarpRunner":
    """Return the installation that was named, or else the first in the usual places.

    Raises:
        UsageError: If two were named.
        ClickException: If none was, and there is none in the usual places.
        OSError: If there is nothing where it was said to be.
    """
    from pycemrg.system import CarpRunner, CommandRunner

    if config is not None and prefix is not None:
        raise click.UsageError("either --config or --prefix")
    if prefix is not None:
        _refuse_config_sh(prefix)
        return CarpRunner.from_prefix(CommandRunner(), prefix)
    found = CarpRunner.find_installation() if config is None else _config_sh(config)
    if found is None:
        raise click.ClickException(_nothing_found())
    return CarpRunner(CommandRunner(), found, source_timeout=source_timeout)


@contextmanager
def ended_by_signals() -> Iterator[None]:
    """Let a signal that ends this process in the block end what the block has started, too."""
    try:
        with signals_as_exceptions():
            yield
    except EndedBySignal as error:
        click.echo(f"ended by {error.name}", err=True)
        raise SystemExit(128 + error.number) from error


def _config_sh(path: Path) -> Path:
    with suppress(RuntimeError):  # no home folder is known
        path = path.expanduser()
    if path.is_dir() and not (path / "config.sh").exists() and (path / "bin").is_dir():
        raise click.ClickException(
            f"there is no config.sh in {path}; for an installation without one: --prefix {path}"
        )
    return path / "config.sh" if path.is_dir() else path


def _refuse_config_sh(prefix: Path) -> None:
    if not (prefix / "bin").is_dir() and (prefix / "config.sh").is_file():
        raise click.ClickException(f"{prefix} has a config.sh instead of a bin: --config {prefix}")


def _nothing_found() -> str:
    from pycemrg.system.carp_runner import DEFAULT_SEARCH_PATHS

    advice = "name yours with --config, or with --prefix an installation without one"
    program = shutil.which("openCARP")
    if program is not None and Path(program).parent.name == "bin":
        advice = f"for the openCARP on your PATH: --prefix {Path(program).absolute().parents[1]}"
    return f"there is no config.sh in {', '.join(DEFAULT_SEARCH_PATHS)}; {advice}"
