"""`pycemrg models`: what a manifest names, fetched and found, and the store that holds it."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pycemrg.cli.app import message_of
from pycemrg.cli.model_manifests import add, lint, schema
from pycemrg.cli.model_options import (
    ModelName,
    cache_dir,
    load_manager,
    log_what_is_done,
    offline,
    size_text,
)
from pycemrg.cli.model_store import export, import_, prune, verify
from pycemrg.cli.options import Manifest, as_json

if TYPE_CHECKING:
    from pycemrg.models import ModelManager
    from pycemrg.models.inventory import StoredObject


@click.group("models")
def models() -> None:
    """Models by name: fetch, find, verify and prune them; carry bundles; write manifests."""


for command in (add, export, import_, lint, prune, schema, verify):
    models.add_command(command)


@models.command("list")
@click.argument("manifest", type=Manifest, required=False)
@cache_dir
@as_json
def list_(manifest: Path | None, cache_dir: Path | None, as_json: bool) -> None:
    """List versions, and where they are.

    Without MANIFEST, list all that is stored: sha256, size, last use, source. Nothing is fetched.
    """
    if manifest is None:
        from pycemrg.models import ModelCache

        cache = ModelCache(cache_dir)
        _list_objects(cache.list_objects(), cache.cache_dir, as_json)
    else:
        manager = load_manager(manifest, cache_dir)
        _list_entries([_state(manager, name) for name in manager.names()], as_json)


def _list_objects(objects: "Sequence[StoredObject]", folder: Path, as_json: bool) -> None:
    if as_json:
        found = [{**each._asdict(), "used": each.used.isoformat()} for each in objects]
        click.echo(json.dumps(found, indent=2))
        return
    for each in objects:
        used = f"{each.used:%Y-%m-%d}"
        click.echo(f"{each.sha256}  {size_text(each.tree_size):>8}  {used}  {each.source}")
    total = size_text(sum(each.tree_size for each in objects))
    click.echo(f"{len(objects)} stored, {total} in {folder}", err=True)


def _state(manager: "ModelManager", name: str) -> dict[str, Any]:
    """Return what there is to say about one version; whatever is wrong with it."""
    state: dict[str, Any] = {"name": name, "default": False, "path": None, "size": None}
    try:
        (entry,) = manager.entries([name])
        state |= {"sha256": entry.sha256, "source": entry.source}
        state["default"] = _default(manager, entry.model) == entry.name
        path = manager.find_model(entry.model, entry.version)
    except (OSError, RuntimeError, ValueError, KeyError) as error:
        return {**state, "error": message_of(error)}
    if path is not None:
        state |= {"path": str(path), "size": _size(path)}
    return state


def _default(manager: "ModelManager", model: str) -> str | None:
    try:
        return manager.entries([model])[0].name
    except (KeyError, ValueError):  # none is named, or one that is not there
        return None


def _size(path: Path) -> int:
    files = [path] if path.is_file() else [each for each in path.rglob("*") if each.is_file()]
    return sum(file.stat().st_size for file in files)


def _list_entries(states: Sequence[dict[str, Any]], as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps(states, indent=2))
        return
    width = max((len(state["name"]) for state in states), default=0)
    for state in states:
        default = "default" if state["default"] else ""
        size = "-" if state["size"] is None else size_text(state["size"])
        place = state["path"] or state.get("error", "not fetched")
        click.echo(f"{state['name']:{width}}  {default:7}  {size:>8}  {place}")


@models.command()
@click.argument("manifest", type=Manifest)
@click.argument("names", nargs=-1, type=ModelName("manifest"), metavar="[NAME[@VERSION]]...")
@click.option("--all", "every", is_flag=True, help="Every version of every model.")
@cache_dir
@offline
def fetch(
    manifest: Path, names: Sequence[str], every: bool, cache_dir: Path | None, offline: bool
) -> None:
    """Fetch what is not there yet; print paths.

    Without a NAME, that is the default version of every model of MANIFEST. What fails does not keep
    the others from being fetched.
    """
    if every and names:
        raise click.UsageError("either --all or names")
    log_what_is_done()
    manager = load_manager(manifest, cache_dir, offline)
    wanted = manager.names() if every else names or manager.models()
    manager.prefetch(wanted, tell=lambda name, path: click.echo(f"{name}\t{path}"))


@models.command("path")
@click.argument("manifest", type=Manifest)
@click.argument("name", type=ModelName("manifest"), metavar="NAME[@VERSION]")
@cache_dir
@offline
def path_(manifest: Path, name: str, cache_dir: Path | None, offline: bool) -> None:
    """Print just the path of a model.

    It is fetched if need be: weights=$(pycemrg models path models.yaml segmentation)
    """
    log_what_is_done()
    manager = load_manager(manifest, cache_dir, offline)
    entry = manager.entries([name])[0]
    click.echo(manager.get_model_path(entry.model, entry.version))
