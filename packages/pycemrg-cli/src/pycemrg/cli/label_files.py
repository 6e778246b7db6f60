"""`pycemrg labels relabel`, `check` and `convert`: files that use label standards."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from pycemrg.cli.label_options import (
    TableFormat,
    UnmappedValue,
    load_mapper,
    load_standard,
    pair_option,
)
from pycemrg.cli.label_progress import progress_bar
from pycemrg.cli.options import File, Manifest, as_json, force

if TYPE_CHECKING:
    from pycemrg.data import LabelManager
    from pycemrg.data.rules import Collisions, Unmapped


@click.command()
@click.argument("source", type=File, metavar="IN")
@click.argument("target", type=File, metavar="OUT")
@click.option("--from", "old", type=Manifest, required=True, help="The standard of IN.")
@click.option("--to", "new", type=Manifest, required=True, help="The standard of OUT.")
@pair_option("old", "new")
@click.option(
    "--unmapped",
    type=UnmappedValue(),
    default="keep",
    show_default=True,
    help="What becomes of a value without a target.",
)
@click.option(
    "--allow-collisions",
    is_flag=True,
    help="Keep a value without a target even if it means another structure in the new standard.",
)
@force
def relabel(
    source: Path,
    target: Path,
    old: Path,
    new: Path,
    pairs: Sequence[tuple[str, str]],
    unmapped: "Unmapped",
    allow_collisions: bool,
    force: bool,
) -> None:
    """Relabel a segmentation (NIfTI, NRRD) or a mesh (openCARP .elem, VTK).

    OUT may be IN itself with --force. What the mapping does is printed before anything is written.
    """
    mapper = load_mapper(old, new, pairs)
    click.echo(str(mapper.report(_count(source)[0])), err=True)
    if unmapped != "keep":
        becomes = {"zero": "become 0", "error": "are refused"}.get(
            str(unmapped), f"become {unmapped}"
        )
        click.echo(f"values without a target {becomes}", err=True)
    collisions: Collisions = "allow" if allow_collisions else "refuse"
    with progress_bar("relabelling") as progress:
        _relabel(source)(
            source,
            target,
            mapper,
            unmapped=unmapped,
            collisions=collisions,
            overwrite=force,
            progress=progress,
        )
    click.echo(f"wrote {target}", err=True)


@click.command()
@click.argument("image", type=File)
@click.argument("manifest", type=Manifest)
@as_json
def check(image: Path, manifest: Path, as_json: bool) -> None:
    """Count the voxels of IMAGE (and ml), or the elements of a mesh, by the names of MANIFEST.

    Fails if IMAGE holds a value that has no name, other than 0. Names without a voxel are listed.
    """
    standard = load_standard(manifest)
    counts, voxel_ml = _count(image)
    named = {name: counts.get(value, 0) for name, value in standard.labels.items()}
    unnamed = {v: n for v, n in counts.items() if v and v not in standard.labels.values()}
    absent = [name for name, count in named.items() if count == 0]
    if as_json:
        found = {"named": named, "unnamed": unnamed, "absent": absent, "voxel_ml": voxel_ml}
        click.echo(json.dumps(found, indent=2))
    else:
        for name, count in named.items():
            if count:
                ml = "" if voxel_ml is None else f"  {count * voxel_ml:12,.3f} ml"
                click.echo(f"{standard.labels[name]:>6}  {name:30}  {count:>12,}{ml}")
        for value, count in unnamed.items():
            click.echo(f"{value:>6}  {'(no name)':30}  {count:>12,}")
        click.echo(f"without a voxel: {', '.join(absent) or 'none'}")
    if unnamed:
        listed = ", ".join(map(str, unnamed))
        raise click.ClickException(f"{image}: values without a name in {manifest}: {listed}")


@click.command()
@click.argument("source", type=File, metavar="IN")
@click.argument("target", type=File, metavar="OUT")
@click.option("--from", "old", type=TableFormat(), help="Format of IN, if its name does not tell.")
@click.option("--to", "new", type=TableFormat(), help="Format of OUT, if its name does not tell.")
@click.option("--task", help="Which class map of TotalSegmentator to read, if there are several.")
@click.option("--consecutive", is_flag=True, help="Number the labels 0, 1, 2 ... as nnU-Net wants.")
@force
def convert(
    source: Path,
    target: Path,
    old: str | None,
    new: str | None,
    task: str | None,
    consecutive: bool,
    force: bool,
) -> None:
    """Convert between label manifests (.yaml) and the label tables of other programs.

    What the new format cannot hold is listed.
    """
    standard = _read(source, old, task)
    if consecutive:
        from pycemrg.data.tables import nnunet

        standard = nnunet.consecutive(standard)
    for loss in _write(standard, target, new, force):
        click.echo(f"lost: {loss}", err=True)
    click.echo(f"wrote {target}", err=True)


def _read(path: Path, format: str | None, task: str | None) -> "LabelManager":
    if task is not None:
        from pycemrg.data.tables import totalsegmentator

        return totalsegmentator.read(path, task=task)
    if format is None and _is_manifest(path):
        return load_standard(path)
    from pycemrg.data.tables import read_table

    return read_table(path, format)


def _write(standard: "LabelManager", path: Path, format: str | None, force: bool) -> list[str]:
    """Write a standard and return what was lost."""
    if format is not None or not _is_manifest(path):
        from pycemrg.data.tables import write_table

        return write_table(standard, path, format, overwrite=force)
    from pycemrg.core.whole_files import write_whole

    write_whole(path, standard.to_yaml(), overwrite=force)
    others = ", ".join(map(repr, standard.other_keys))
    return [f"other parts of the manifest are left out: {others}"] if others else []


def _is_manifest(path: Path) -> bool:
    return path.suffix.lower() in (".yaml", ".yml")


def _is_mesh(path: Path) -> bool:
    from pycemrg.data.meshes import SUFFIXES

    return path.suffix.lower() in SUFFIXES


def _relabel(path: Path) -> Callable[..., Path]:
    """Return what relabels files of this kind."""
    if _is_mesh(path):
        from pycemrg.data.meshes import relabel_mesh

        return relabel_mesh
    from pycemrg.data.volumes import relabel_volume

    return relabel_volume


def _count(path: Path) -> tuple[dict[int, int], float | None]:
    """Count the labels or tags of a file; of a volume, also give the ml of one voxel."""
    with progress_bar("reading") as progress:
        if _is_mesh(path):
            from pycemrg.data.meshes import count_tags

            return count_tags(path, progress=progress), None
        from pycemrg.data.volumes import read_labels

        volume = read_labels(path, progress=progress)
    # After what says which extra to install where numpy is missing.
    from pycemrg.data.counting import count_values

    return count_values(volume.array), volume.voxel_ml
