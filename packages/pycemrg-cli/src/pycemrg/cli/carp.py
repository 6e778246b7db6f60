"""`pycemrg carp`: find an installation of CARPentry or openCARP, examine it, run its commands."""

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pycemrg.cli.app import for_the_shell
from pycemrg.cli.carp_exports import changes_of, is_settable, shell_line
from pycemrg.cli.carp_options import ended_by_signals, installation_options, load_carp
from pycemrg.cli.options import as_json
from pycemrg.cli.run import everything_after, run_options, watch

if TYPE_CHECKING:
    from pycemrg.system.carp_doctor import Finding


@click.group("carp")
def carp() -> None:
    """CARPentry and openCARP: find an installation, examine it, run commands in its environment.

    Without --config or --prefix the first config.sh in the usual places is taken.
    """


@carp.command()
@installation_options
def find(**installation: Any) -> None:
    """Print the config.sh that is found, or the prefix."""
    found = load_carp(**installation)
    _print(str(found.config_path or found.installation_root))


@carp.command()
@installation_options
@as_json
@click.option("--export", is_flag=True, help="Print lines that a shell can evaluate.")
def env(as_json: bool, export: bool, **installation: Any) -> None:
    """Print the variables that an installation sets or changes.

    variables=$(pycemrg carp env --export) && eval "$variables"

    JSON has null for a variable that it unsets.
    """
    if as_json and export:
        raise click.UsageError("either --json or --export")
    try:
        with ended_by_signals():
            changes = changes_of(load_carp(**installation).carp_env, os.environ)
    except BaseException:
        if export:
            click.echo("false")  # or `eval "$(...)"` would succeed, and a script go on
        raise
    if as_json:
        click.echo(json.dumps(changes, indent=2))
    elif export:
        _export(changes)
    else:
        _list(changes)


def _export(changes: Mapping[str, str | None]) -> None:
    for name, value in changes.items():
        if is_settable(name):
            _print(shell_line(name, value))
    if others := [name for name in changes if not is_settable(name)]:
        why = "a shell cannot set them; the commands of pycemrg carp run have them"
        click.echo(f"left out {', '.join(others)}: {why}", err=True)


def _list(changes: Mapping[str, str | None]) -> None:
    for name, value in changes.items():
        if value is not None:
            _print(f"{name}={value}")
    if gone := [name for name, value in changes.items() if value is None]:
        click.echo(f"not set any more: {', '.join(gone)}", err=True)


@carp.command()
@installation_options
@as_json
def doctor(as_json: bool, **installation: Any) -> int:
    """Show what is there, what is missing, and what to do about it.

    The tools are started, for no more than their version. The exit code is 1 if something that is
    needed is missing.
    """
    from pycemrg.system.carp_doctor import examine

    found = load_carp(**installation)
    with ended_by_signals():
        findings = examine(found)
    if as_json:
        click.echo(json.dumps([finding._asdict() for finding in findings], indent=2))
    else:
        _list_findings(findings)
    states = [finding.state for finding in findings]
    click.echo(f"{states.count('missing')} missing, {states.count('warning')} warnings", err=True)
    return 1 if "missing" in states else 0


def _list_findings(findings: "Sequence[Finding]") -> None:
    width = max(len(finding.what) for finding in findings)
    for finding in findings:
        first, *more = for_the_shell(finding.detail).splitlines() or [""]
        _print(f"{finding.state:7}  {finding.what:{width}}  {first}".rstrip())
        for line in [*more, *finding.advice.splitlines()]:
            _print(f"{'':{width + 9}}  {line}")


@carp.command(context_settings=everything_after)
@installation_options
@run_options
def run(
    command: Sequence[str],
    config: Path | None,
    prefix: Path | None,
    source_timeout: float,
    **options: Any,
) -> int:
    """Run COMMAND in the environment of an installation.

    pycemrg carp run --expect sim/vm.igb --timeout 2h -- openCARP +F sim.par

    The options, the output and the exit code are those of pycemrg run.
    """
    return watch(load_carp(config, prefix, source_timeout).execute, command, **options)


def _print(text: str) -> None:
    click.echo(os.fsencode(text))  # values and paths need not be UTF-8
