"""Arguments that the commands on label standards have in common."""

import os
import re
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast

import click

if TYPE_CHECKING:
    from pycemrg.data import LabelManager, LabelMapper
    from pycemrg.data.rules import Unmapped

Command = TypeVar("Command", bound=Callable[..., Any])

OFFERED = 200
"""The most pairs of names that the shell is offered."""


class Completed(click.ParamType):  # type: ignore[type-arg]  # generic since click 8.3 only
    """A parameter whose values the shell completes."""

    def known(self, ctx: click.Context) -> Iterable[str]:
        """Return the values, as far as the other arguments tell them."""
        raise NotImplementedError

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[Any]:
        """Offer the values; offer none if a file that they stand in cannot be read."""
        from click.shell_completion import CompletionItem

        try:
            values = [value for value in self.known(ctx) if value.startswith(incomplete)]
        except (OSError, ValueError, KeyError):
            return []
        # The shell is told one value in a line.
        return [CompletionItem(value) for value in values[:OFFERED] if value.isprintable()]


class LabelName(Completed):
    """A label or group of the manifest that another argument of the command names."""

    name = "name"

    def __init__(self, manifest: str) -> None:
        self.manifest = manifest

    def known(self, ctx: click.Context) -> Iterable[str]:
        """Return the labels, then the groups."""
        labels = _typed(ctx, self.manifest)
        return dict.fromkeys([*labels, *labels.groups])


class Pair(Completed):
    """``SOURCE=TARGET``, two labels of the manifests that other arguments name."""

    name = "SOURCE=TARGET"

    def __init__(self, source: str, target: str) -> None:
        self.source = source
        self.target = target

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, str]:
        """Return the two names."""
        if isinstance(value, tuple):
            return cast("tuple[str, str]", value)
        source, sign, target = value.partition("=")
        if not sign:
            self.fail(f"{value!r} is not SOURCE=TARGET, such as LV=LV_myo", param, ctx)
        return source, target

    def known(self, ctx: click.Context) -> Iterable[str]:
        """Return each label that has no target with each that nothing becomes."""
        source, target = _typed(ctx, self.source), _typed(ctx, self.target)
        free = [name for name in target if name not in source]
        return (f"{name}={other}" for name in source if name not in target for other in free)


class TableFormat(Completed):
    """A format of label tables."""

    name = "FORMAT"

    def known(self, ctx: click.Context) -> Iterable[str]:
        """Return the names of all formats."""
        from pycemrg.data.tables import FORMATS

        return FORMATS


class UnmappedValue(Completed):
    """``keep``, ``zero``, ``error`` or an integer."""

    name = "keep|zero|error|INTEGER"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> "Unmapped":
        """Return the word or the integer."""
        if value in self.known(ctx):
            return cast("Unmapped", value)
        if not re.fullmatch("[+-]?[0-9]{1,18}", str(value)):
            self.fail(f"{value!r} is not one of keep, zero, error or an integer", param, ctx)
        return int(value)

    def known(self, ctx: click.Context | None) -> Iterable[str]:
        """Return the words."""
        return ("keep", "zero", "error")


def pair_option(source: str, target: str) -> Callable[[Command], Command]:
    """Return the option ``--pair`` for the manifests in the parameters `source` and `target`."""
    return click.option(
        "--pair",
        "pairs",
        type=Pair(source, target),
        multiple=True,
        help="Join two labels of different names; may be repeated.",
    )


def load_standard(path: Path) -> "LabelManager":
    """Load a label manifest."""
    from pycemrg.data import LabelManager

    return LabelManager(path)


def load_mapper(source: Path, target: Path, pairs: Sequence[tuple[str, str]]) -> "LabelMapper":
    """Load two manifests and map the first to the second."""
    from pycemrg.data import LabelMapper

    names = [name for name, _ in pairs]
    if twice := [name for name in dict.fromkeys(names) if names.count(name) > 1]:
        raise click.UsageError(f"--pair joins {', '.join(twice)} more than once")
    return LabelMapper(load_standard(source), load_standard(target), pairs=dict(pairs))


def _typed(ctx: click.Context, parameter: str) -> "LabelManager":
    """Load the manifest in a parameter of an unfinished command line, which no shell expanded."""
    typed = ctx.params.get(parameter)
    if typed is None:  # click sorts the arguments after the options, of which one lacks its value
        names = [each.name for each in ctx.command.params if isinstance(each, click.Argument)]
        typed = dict(zip(names, ctx.args, strict=False))[parameter]
    return load_standard(Path(os.path.expandvars(typed)).expanduser())
