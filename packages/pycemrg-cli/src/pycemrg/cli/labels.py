"""`pycemrg labels`: show, check, compare and convert label standards, and relabel files."""

import json
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from pycemrg.cli.findings import findings_in, report
from pycemrg.cli.label_files import check, convert, relabel
from pycemrg.cli.label_options import LabelName, load_mapper, load_standard, pair_option
from pycemrg.cli.options import File, Manifest, as_json, force, lint_format

if TYPE_CHECKING:
    from pycemrg.data import LabelManager
    from pycemrg.data.problems import Problem


@click.group("labels")
def labels() -> None:
    """Label standards: show, check, compare, convert; relabel segmentations and meshes."""


for command in (check, convert, relabel):
    labels.add_command(command)


@labels.command()
@click.argument("manifest", type=Manifest)
@as_json
@click.option("--image", type=File, help="Draw the middle slices of this segmentation instead.")
@click.option("--output", "-o", type=File, help="The picture to write, such as seg.png.")
@force
def show(
    manifest: Path, as_json: bool, image: Path | None, output: Path | None, force: bool
) -> None:
    """List the labels and groups of MANIFEST, or draw a segmentation with its names."""
    standard = load_standard(manifest)
    if (image is None) != (output is None):
        raise click.UsageError("--image and --output go together")
    if image is not None and output is not None:
        from pycemrg.data.drawing import draw_slices
        from pycemrg.data.volumes import read_labels

        path = draw_slices(read_labels(image), standard, output, overwrite=force)
        click.echo(f"wrote {path}", err=True)
    elif as_json:
        click.echo(json.dumps(standard.to_dict(), indent=2))
    else:
        _list(standard)


def _list(standard: "LabelManager") -> None:
    from pycemrg.data.annotations import usable

    width = max((len(name) for name in (*standard, *standard.groups)), default=0)
    colors = usable(lambda: standard.colors)
    for name, value in standard.labels.items():
        click.echo(f"{name:{width}}  {value:>6}  {colors.get(name, '')}".rstrip())
    for name in standard.groups:
        values = ",".join(str(value) for value in standard.get_values_from_names([name]))
        click.echo(f"{name:{width}}  {values}".rstrip())


@labels.command()
@click.argument("manifests", type=Manifest, nargs=-1, required=True)
@lint_format
def lint(manifests: Sequence[Path], style: str) -> None:
    """Check MANIFESTS; fail if one cannot be loaded or has an error in it."""
    found = [findings_in(each, partial(_problems, each)) for each in manifests]
    report([finding for findings in found for finding in findings], style)


def _problems(manifest: Path) -> "list[Problem]":
    try:
        return load_standard(manifest).problems()
    except OSError as error:  # one that is not there keeps no other from being checked
        raise ValueError(f"{manifest}:1:1: {error.strerror or error}") from error


@labels.command()
@click.argument("manifest", type=Manifest)
@click.argument("names", nargs=-1, required=True, type=LabelName("manifest"))
@click.option("--separator", default=",", show_default=True, help="What stands between two values.")
def tags(manifest: Path, names: Sequence[str], separator: str) -> None:
    """Print the values that NAMES stand for, as command-line tools want them.

    meshtool extract mesh -tags=$(pycemrg labels tags labels.yaml ventricles) ...
    """
    found = load_standard(manifest).get_tags_string(list(names), separator)
    if not found:
        raise click.ClickException(f"{', '.join(names)}: a group without members has no values")
    click.echo(found)


@labels.command()
@click.argument("first", type=Manifest)
@click.argument("second", type=Manifest)
@as_json
def diff(first: Path, second: Path, as_json: bool) -> None:
    """Compare two standards: names that only one has, and names whose value differs."""
    a, b = load_standard(first).labels, load_standard(second).labels
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
@pair_option("source", "target")
@as_json
def map_(source: Path, target: Path, pairs: Sequence[tuple[str, str]], as_json: bool) -> None:
    """Show what a mapping from SOURCE to TARGET does and cannot do."""
    mapper = load_mapper(source, target, pairs)
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
