"""`pycemrg models verify`, `prune`, `export` and `import`: the store and its bundles."""

import json
from collections.abc import Sequence
from pathlib import Path

import click

from pycemrg.cli.model_options import (
    ModelName,
    cache_dir,
    load_manager,
    log_what_is_done,
    offline,
    size_text,
)
from pycemrg.cli.options import File, Manifest, as_json, force

LEAST_DAYS = 2.0  # a use leaves a trace once a day


@click.command()
@click.argument("manifest", type=Manifest, required=False)
@click.option("--deep", is_flag=True, help="Read every file, and look for what was never stored.")
@cache_dir
@as_json
def verify(manifest: Path | None, deep: bool, cache_dir: Path | None, as_json: bool) -> None:
    """Look for damage in what is stored.

    With MANIFEST, only in what is stored for it. By default a file is read only if its size or time
    of change is not what it was. Fails if something is damaged.
    """
    if manifest is None:
        from pycemrg.models import ModelCache

        damages = ModelCache(cache_dir).verify(deep=deep)
    else:
        damages = load_manager(manifest, cache_dir).verify(deep=deep)
    if as_json:
        found = [{**each._asdict(), "folder": str(each.folder)} for each in damages]
        click.echo(json.dumps(found, indent=2))
    else:
        for damage in damages:
            click.echo(f"{damage}{f' ({damage.source})' if damage.source else ''}")
            for name in damage.files:
                click.echo(f"  {name}")
    if damages:
        raise click.ClickException(
            f"{len(damages)} damaged; the next use fetches that again, or delete the folders now: "
            f"what only --deep sees is not seen by a use"
        )


@click.command()
@click.option(
    "--older-than",
    metavar="DAYS",
    type=click.FloatRange(min=LEAST_DAYS),
    default=30.0,
    show_default=True,
    help="For how long nobody has used what goes.",
)
@click.option("--dry-run", is_flag=True, help="Delete nothing, only say what would go.")
@cache_dir
def prune(older_than: float, dry_run: bool, cache_dir: Path | None) -> None:
    """Delete what nobody has used for long.

    What killed processes left behind goes, too.
    """
    from pycemrg.models import ModelCache

    pruned = ModelCache(cache_dir).prune(older_than=older_than, dry_run=dry_run)
    for each in pruned.objects:
        used = f"{each.used:%Y-%m-%d}"
        click.echo(f"{each.sha256}  {size_text(each.tree_size):>8}  {used}  {each.source}")
    for path in pruned.leftovers:
        click.echo(path)
    count, left = len(pruned.objects), len(pruned.leftovers)
    freed = "would free" if dry_run else "freed"
    click.echo(f"{freed} {pruned.size:,} bytes: {count} unused, {left} left behind", err=True)


@click.command()
@click.argument("manifest", type=Manifest)
@click.argument("bundle", type=File)
@click.argument("names", nargs=-1, type=ModelName("manifest"), metavar="[NAME[@VERSION]]...")
@force
@cache_dir
@offline
def export(
    manifest: Path,
    bundle: Path,
    names: Sequence[str],
    force: bool,
    cache_dir: Path | None,
    offline: bool,
) -> None:
    """Pack models for a site without internet.

    BUNDLE gets all versions of all models of MANIFEST, or those named. What cannot be taken along
    is listed. `pycemrg models import` reads BUNDLE there.
    """
    log_what_is_done()
    manager = load_manager(manifest, cache_dir, offline)
    for left_out in manager.export_bundle(bundle, names or None, overwrite=force):
        click.echo(left_out, err=True)
    click.echo(f"wrote {bundle} ({size_text(bundle.stat().st_size)})", err=True)


@click.command("import")
@click.argument("bundle", type=File)
@cache_dir
def import_(bundle: Path, cache_dir: Path | None) -> None:
    """Store what BUNDLE holds.

    It is then found as if it had been downloaded. The names that it was exported under are printed.
    """
    from pycemrg.models import ModelCache

    log_what_is_done()
    cache = ModelCache(cache_dir)
    for name in cache.import_bundle(bundle):
        click.echo(name)
    click.echo(f"imported {bundle} into {cache.cache_dir}", err=True)
