"""`pycemrg labels`: show, check, compare and convert label standards, and relabel files."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import click

if TYPE_CHECKING:
    from pycemrg.data import LabelManager, LabelMapper
    from pycemrg.data.rules import Unmapped

Manifest = click.Path(dir_okay=False, path_type=Path)
as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
force = click.option("--force", is_flag=True, help="Replace the output if it exists.")


class LabelName(click.ParamType):  # type: ignore[type-arg]  # generic since click 8.3 only
    """A label or group of the manifest that another argument of the command names."""

    name = "name"

    def __init__(self, manifest: str) -> None:
        self.manifest = manifest

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[Any]:
        """Offer the names of the manifest; offer none if it cannot be read."""
        from click.shell_completion import CompletionItem

        try:
            labels = _load(ctx.params[self.manifest])
        except (OSError, ValueError, KeyError):
            return []
        names = [*labels, *(name for name in labels.groups if name not in labels)]
        return [CompletionItem(name) for name in names if name.startswith(incomplete)]


class UnmappedValue(click.ParamType):  # type: ignore[type-arg]
    """``keep``, ``zero``, ``error`` or an integer."""

    name = "keep|zero|error|INTEGER"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> "Unmapped":
        """Return the word or the integer."""
        if value in ("keep", "zero", "error"):
            return cast("Unmapped", value)
        try:
            return int(value)
        except ValueError:
            self.fail(f"{value!r} is not one of keep, zero, error or an integer", param, ctx)


pair_option = click.option(
    "--pair",
    "pairs",
    multiple=True,
    metavar="SOURCE=TARGET",
    help="Join two labels of different names; may be repeated.",
)


@click.group("labels")
def labels() -> None:
    """Label standards: show, check, compare, convert; relabel segmentations and meshes."""


@labels.command()
@click.argument("manifest", type=Manifest)
@as_json
def show(manifest: Path, as_json: bool) -> None:
    """List the labels and groups of MANIFEST."""
    standard = _load(manifest)
    if as_json:
        click.echo(json.dumps(standard.to_dict(), indent=2))
        return
    width = max((len(name) for name in (*standard, *standard.groups)), default=0)
    for name, value in standard.labels.items():
        color = standard.colors.get(name, "")
        click.echo(f"{name:{width}}  {value:>6}  {color}".rstrip())
    for name in standard.groups:
        values = ",".join(str(value) for value in standard.get_values_from_names([name]))
        click.echo(f"{name:{width}}  {values}".rstrip())


@labels.command()
@click.argument("manifests", type=Manifest, nargs=-1, required=True)
@click.option(
    "--format",
    "style",
    type=click.Choice(["text", "json", "github"]),
    default="text",
    show_default=True,
    help="How to print what is found; github makes annotations in a workflow.",
)
def lint(manifests: Sequence[Path], style: str) -> None:
    """Check MANIFESTS; fail if one cannot be loaded or has an error in it."""
    findings = [finding for manifest in manifests for finding in _findings(manifest)]
    if style == "json":
        click.echo(json.dumps(findings, indent=2))
    else:
        for finding in findings:
            click.echo(_FINDING[style].format(**finding))
    errors = sum(finding["severity"] == "error" for finding in findings)
    click.echo(f"{errors} errors, {len(findings) - errors} warnings", err=True)
    if errors:
        raise SystemExit(1)


_FINDING = {
    "text": "{file}:{line}:{column}: {severity}: {message} [{code}]",
    "github": "::{severity} file={file},line={line},col={column},title={code}::{message}",
}


@labels.command()
@click.argument("manifest", type=Manifest)
@click.argument("names", nargs=-1, required=True, type=LabelName("manifest"))
@click.option("--separator", default=",", show_default=True, help="What stands between two values.")
def tags(manifest: Path, names: Sequence[str], separator: str) -> None:
    r"""Print the values that NAMES stand for, as command-line tools want them.

    \b
    meshtool extract mesh -tags=$(pycemrg labels tags labels.yaml ventricles) ...
    """
    found = _load(manifest).get_tags_string(list(names), separator)
    if not found:
        raise click.ClickException(f"{', '.join(names)}: a group without members has no values")
    click.echo(found)


@labels.command()
@click.argument("first", type=Manifest)
@click.argument("second", type=Manifest)
@as_json
def diff(first: Path, second: Path, as_json: bool) -> None:
    """Compare two standards: names that only one has, and names whose value differs."""
    a, b = _load(first).labels, _load(second).labels
    removed = {name: value for name, value in a.items() if name not in b}
    added = {name: value for name, value in b.items() if name not in a}
    changed = {name: [value, b[name]] for name, value in a.items() if b.get(name, value) != value}
    if as_json:
        found = {"only_in_first": removed, "only_in_second": added, "different": changed}
        click.echo(json.dumps(found, indent=2))
        return
    for name, value in removed.items():
        click.echo(f"- {name}: {value}")
    for name, value in added.items():
        click.echo(f"+ {name}: {value}")
    for name, (before, after) in changed.items():
        click.echo(f"! {name}: {before} -> {after}")


@labels.command("map")
@click.argument("source", type=Manifest)
@click.argument("target", type=Manifest)
@pair_option
@as_json
def map_(source: Path, target: Path, pairs: Sequence[str], as_json: bool) -> None:
    """Show what a mapping from SOURCE to TARGET does and cannot do."""
    mapper = _mapper(source, target, pairs)
    if as_json:
        click.echo(json.dumps(mapper.get_source_to_target_mapping()))
    else:
        click.echo(str(mapper.report()))


@labels.command()
def schema() -> None:
    """Print the JSON Schema of label manifests, for editors that complete and check them."""
    from importlib.resources import files

    text = files("pycemrg.data").joinpath("schema/labels.schema.json").read_text(encoding="utf-8")
    click.echo(text, nl=False)


def _load(path: Path) -> "LabelManager":
    from pycemrg.data import LabelManager

    return LabelManager(path)


def _mapper(source: Path, target: Path, pairs: Sequence[str]) -> "LabelMapper":
    from pycemrg.data import LabelMapper

    split = [pair.split("=", 1) for pair in pairs]
    if any(len(pair) != 2 for pair in split):
        raise click.UsageError("--pair takes SOURCE=TARGET, such as LV=LV_myo")
    return LabelMapper(_load(source), _load(target), pairs=dict(split))


def _findings(manifest: Path) -> list[dict[str, Any]]:
    try:
        problems = _load(manifest).problems()
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


def _load_error(manifest: Path, text: str) -> dict[str, Any]:
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
