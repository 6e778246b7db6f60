"""Arguments that the commands on models have in common."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from pycemrg.models import ModelManager

cache_dir = click.option(
    "--cache-dir",
    type=click.Path(file_okay=False, path_type=Path),
    help="Where models are kept; else $PYCEMRG_CACHE_DIR, else ~/.cache/pycemrg.",
)
offline = click.option(
    "--offline", is_flag=True, help="Leave the network alone, as $PYCEMRG_OFFLINE=1 does."
)


class ModelName(click.ParamType):  # type: ignore[type-arg]  # generic since click 8.3 only
    """A model of the manifest that another argument of the command names, or ``model@version``."""

    name = "name"

    def __init__(self, manifest: str) -> None:
        self.manifest = manifest

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[Any]:
        """Offer the models of the manifest and, after ``@``, their versions.

        Nothing is offered if the manifest cannot be read.
        """
        from click.shell_completion import CompletionItem

        try:
            manager = load_manager(ctx.params[self.manifest], None)
            names = manager.models() + (manager.names() if "@" in incomplete else [])
        except (OSError, ValueError, RuntimeError):
            return []
        return [CompletionItem(name) for name in names if name.startswith(incomplete)]


def load_manager(manifest: Path, cache_dir: Path | None, offline: bool = False) -> "ModelManager":
    """Load a model manifest."""
    from pycemrg.models import ModelManager

    return ModelManager(manifest, cache_dir, offline=offline or None)


def log_what_is_done() -> None:
    """Print to stderr what the library logs; on a terminal its bars say most of it."""
    from pycemrg.core.logs import setup_logging

    setup_logging("WARNING" if sys.stderr.isatty() else "INFO")


def size_text(size: int) -> str:
    """Return a number of bytes as people read it.

    Example:
        >>> size_text(999), size_text(237_412_345), size_text(5_600_000_000_000)
        ('999 B', '237.4 MB', '5.6 TB')
    """
    amount = float(size)
    for unit in ("B", "kB", "MB", "GB"):
        if amount < 999.95:
            return f"{amount:.0f} B" if unit == "B" else f"{amount:.1f} {unit}"
        amount /= 1000
    return f"{amount:.1f} TB"
