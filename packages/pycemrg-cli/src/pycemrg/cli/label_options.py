"""Arguments that the commands on label standards have in common."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import click

if TYPE_CHECKING:
    from pycemrg.data import LabelManager, LabelMapper
    from pycemrg.data.rules import Unmapped

pair_option = click.option(
    "--pair",
    "pairs",
    multiple=True,
    metavar="SOURCE=TARGET",
    help="Join two labels of different names; may be repeated.",
)


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
            labels = load_standard(ctx.params[self.manifest])
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


def load_standard(path: Path) -> "LabelManager":
    """Load a label manifest."""
    from pycemrg.data import LabelManager

    return LabelManager(path)


def load_mapper(source: Path, target: Path, pairs: Sequence[str]) -> "LabelMapper":
    """Load two manifests and map the first to the second; a pair is ``SOURCE=TARGET``."""
    from pycemrg.data import LabelMapper

    split = [pair.split("=", 1) for pair in pairs]
    if any(len(pair) != 2 for pair in split):
        raise click.UsageError("--pair takes SOURCE=TARGET, such as LV=LV_myo")
    return LabelMapper(load_standard(source), load_standard(target), pairs=dict(split))
