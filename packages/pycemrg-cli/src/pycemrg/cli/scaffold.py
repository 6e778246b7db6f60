"""`pycemrg init`, `init-labels` and `init-models`: files to start from."""

import shlex
from pathlib import Path

import click

from pycemrg.files import ConfigScaffolder, ProjectScaffolder

FORCE_HELP = "Replace the file if it exists."
OutputPath = click.Path(dir_okay=False, path_type=Path)


@click.command("init-models")
@click.option(
    "--output",
    "-o",
    type=OutputPath,
    default="models.yaml",
    show_default=True,
    help="File to write.",
)
@click.option("--force", is_flag=True, help=FORCE_HELP)
def init_models(output: Path, force: bool) -> None:
    """Write a starter models.yaml with usage examples."""
    ConfigScaffolder().create_models_manifest(output, overwrite=force)
    click.echo(f"wrote {output}", err=True)


@click.command("init-labels")
@click.option(
    "--output",
    "-o",
    type=OutputPath,
    default="labels.yaml",
    show_default=True,
    help="File to write.",
)
@click.option(
    "--num-labels",
    type=click.IntRange(min=1),
    default=3,
    show_default=True,
    help="Number of placeholder labels.",
)
@click.option(
    "--num-groups",
    type=click.IntRange(min=1),
    default=1,
    show_default=True,
    help="Number of placeholder groups, at most as many as labels.",
)
@click.option("--force", is_flag=True, help=FORCE_HELP)
def init_labels(output: Path, num_labels: int, num_groups: int, force: bool) -> None:
    """Write a starter labels.yaml with placeholder labels, spread evenly over groups."""
    if num_groups > num_labels:
        raise click.BadParameter(
            f"{num_groups} groups cannot each have one of {num_labels} labels",
            param_hint="'--num-groups'",
        )
    ConfigScaffolder().create_labels_manifest(
        output, overwrite=force, num_labels=num_labels, num_groups=num_groups
    )
    click.echo(f"wrote {output}", err=True)


@click.command("init")
@click.argument("name")
@click.option(
    "--parent-dir",
    type=click.Path(file_okay=False, path_type=Path),
    default=".",
    show_default=True,
    help="Folder to make the study in.",
)
@click.option("--with-src", is_flag=True, help="Add a package for the study's own code.")
@click.option("--force", is_flag=True, help="Write the files again if the study exists.")
def init(name: str, parent_dir: Path, with_src: bool, force: bool) -> None:
    """Make a study NAME that runs as it stands: label standards, models, scripts, outputs."""
    study = ProjectScaffolder().create_project(name, parent_dir, with_src=with_src, overwrite=force)
    click.echo(f"made the study {study}", err=True)
    folder, script = (shlex.quote(str(path)) for path in (study, study / "scripts/run_case.py"))
    click.echo(f"install what it needs: python -m pip install -e {folder}", err=True)
    click.echo(f"run its case: python {script}", err=True)
