"""What the `lint` commands find, printed for people, programs and workflows."""

import json
import re
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import click

from pycemrg.core.problems import Problem

Finding = dict[str, Any]

_LINE = {
    "text": "{file}:{line}:{column}: {severity}: {message} [{code}]",
    "github": "::{severity} file={file},line={line},col={column},title={code}::{message}",
}


def findings_in(manifest: Path, check: Callable[[], Iterable[Problem]]) -> list[Finding]:
    """Return what `check` finds in a manifest, or that it cannot be loaded.

    Args:
        manifest: As the user named it.
        check: Loads the manifest and looks at it; a ValueError says that it cannot be loaded.
    """
    try:
        problems = list(check())
    except ValueError as error:
        return [_load_error(manifest, str(error))]
    return [
        {
            "file": str(manifest),
            "line": problem.place.line if problem.place else 1,
            "column": problem.place.column if problem.place else 1,
            "severity": problem.severity,
            "code": problem.code,
            "message": problem.message,
        }
        for problem in problems
    ]


def report(findings: Sequence[Finding], style: str) -> None:
    """Print findings; exit with 1 if one of them is an error.

    Args:
        findings: Of all manifests. A ``notice`` is printed and not counted.
        style: ``"text"``, ``"json"`` or ``"github"``.
    """
    if style == "json":
        click.echo(json.dumps(findings, indent=2))
    else:
        for finding in findings:
            click.echo(_LINE[style].format(**(_escaped(finding) if style == "github" else finding)))
    severities = [finding["severity"] for finding in findings]
    errors, warnings = severities.count("error"), severities.count("warning")
    click.echo(f"{errors} errors, {warnings} warnings", err=True)
    if errors:
        raise SystemExit(1)


def _escaped(finding: Finding) -> Finding:
    """Return a finding whose texts end no annotation and no field of one.

    These are the rules of actions/toolkit for workflow commands.
    """
    escaped = {key: str(value).replace("%", "%25") for key, value in finding.items()}
    escaped = {key: re.sub(r"[\r\n]", _hex, text) for key, text in escaped.items()}
    return {**escaped, "file": re.sub("[:,]", _hex, escaped["file"])}


def _hex(found: re.Match[str]) -> str:
    return f"%{ord(found[0]):02X}"


def _load_error(manifest: Path, text: str) -> Finding:
    """Take a message of the form ``file:line:column: message`` apart."""
    line, column, message = text.removeprefix(f"{manifest}:").split(":", 2)
    return {
        "file": str(manifest),
        "line": int(line),
        "column": int(column),
        "severity": "error",
        "code": "not-loadable",
        "message": message.strip(),
    }
