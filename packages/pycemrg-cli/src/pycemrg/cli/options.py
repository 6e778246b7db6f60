"""Arguments that commands of several groups have in common."""

from pathlib import Path

import click

Manifest = click.Path(dir_okay=False, path_type=Path)
File = click.Path(dir_okay=False, path_type=Path)
as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
force = click.option("--force", is_flag=True, help="Replace the output if it exists.")
lint_format = click.option(
    "--format",
    "style",
    type=click.Choice(["text", "json", "github"]),
    default="text",
    show_default=True,
    help="How to print what is found; github makes annotations in a workflow.",
)
