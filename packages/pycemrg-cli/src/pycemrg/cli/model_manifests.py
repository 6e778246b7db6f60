"""`pycemrg models lint`, `add` and `schema`: manifests of models."""

from collections.abc import Iterator, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from pycemrg.cli.app import for_the_shell
from pycemrg.cli.findings import findings_in, report
from pycemrg.cli.model_options import load_manager, log_what_is_done
from pycemrg.cli.options import Manifest, lint_format
from pycemrg.core.problems import Problem

if TYPE_CHECKING:
    from pycemrg.models.manifest import Entry


@click.command()
@click.argument("manifests", type=Manifest, nargs=-1, required=True)
@click.option("--online", is_flag=True, help="Ask each address for the size of its file, too.")
@lint_format
def lint(manifests: Sequence[Path], online: bool, style: str) -> None:
    """Check manifests; fail if one has an error.

    One that cannot be loaded has one.
    """
    found = [findings_in(each, partial(_problems, each, online)) for each in manifests]
    report([finding for findings in found for finding in findings], style)


def _problems(manifest: Path, online: bool) -> Iterator[Problem]:
    manager = load_manager(manifest, None)
    yield from manager.problems()
    for name in manager.names() if online else []:
        with suppress(KeyError, ValueError):  # a malformed entry is among the problems
            (entry,) = manager.entries([name])
            yield from _answers(entry)


def _answers(entry: "Entry") -> Iterator[Problem]:
    """Yield how large the file is at each address of an entry, or that it cannot be had."""
    from pycemrg.models.manifest import public_url

    sizes = set()
    for url in (entry.url, *entry.mirrors):
        try:
            size = _size(entry, url)
        except (OSError, RuntimeError) as error:
            message = str(error).removeprefix(f"{entry.title}: ")
            yield Problem("unreachable", "error", entry.place, f"{entry.name}: {message}")
            continue
        told = "answers without a size" if size is None else f"{size:,} bytes"
        message = f"{entry.name}: {public_url(url)}: {told}"
        yield Problem("size", "notice", entry.place, message)
        sizes.add(size)
    if len(sizes - {None}) > 1:
        message = f"{entry.name}: files of different sizes cannot have the same sha256"
        yield Problem("different-sizes", "error", entry.place, message)


def _size(entry: "Entry", url: str) -> int | None:
    if entry.local:
        from pycemrg.models.local import local_file

        path = local_file(entry)
        return path.stat().st_size if path.is_file() else None
    from pycemrg.models.download import size_of

    return size_of(url)


@click.command()
@click.argument("name")
@click.argument("version")
@click.argument("source", metavar="URL|FILE")
@click.option(
    "--append", "manifest", type=Manifest, help="Put the new model at the end of this manifest."
)
@click.option("--target", metavar="PATH", help="The file or folder of the archive that is wanted.")
@click.option(
    "--archive",
    type=click.Choice(["zip", "tar", "none"]),
    help="How the file is packed, where its name does not say it.",
)
def add(
    name: str,
    version: str,
    source: str,
    manifest: Path | None,
    target: str | None,
    archive: str | None,
) -> None:
    """Print the entry for a URL or a file.

    All of it is read for its sha256, and an archive is unpacked, in a temporary folder, to see that
    it can be. If it holds just one file, or just one that looks like weights, that is the target;
    else choose with --target.
    """
    from pycemrg.models.authoring import append_entry, describe_source

    log_what_is_done()
    entry = describe_source(
        name, version, source, target=target, archive=archive, manifest=manifest
    )
    for remark in entry.remarks:
        click.echo(for_the_shell(remark), err=True)
    if manifest is not None:
        append_entry(manifest, entry)
        click.echo(f"added {name}@{version} to {manifest}", err=True)
        return
    click.echo(entry.to_yaml(), nl=False)
    if not entry.is_complete:
        raise click.ClickException(
            f"the archive holds {len(entry.members)} files; choose with --target, or write what is "
            f"wanted after unzipped_target_path"
        )


@click.command()
def schema() -> None:
    """Print the JSON Schema of manifests.

    With it, editors complete and check them.
    """
    from importlib.resources import files

    text = files("pycemrg.models").joinpath("schema/models.schema.json").read_text(encoding="utf-8")
    click.echo(text, nl=False)
