"""A progress bar for work on large files."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from pycemrg.data.progress import Progress

PATIENCE = 1.0
"""Seconds that work goes on without a bar: what is done soon needs none."""


@contextmanager
def progress_bar(label: str) -> "Iterator[Progress | None]":
    """Yield what shows progress on standard error, None if that is no terminal.

    The bar appears when the work has taken a while and tells how far it is.
    """
    if not sys.stderr.isatty():
        yield None
        return
    started = time.time()
    bar = None

    def show(done: int, total: int) -> None:
        nonlocal bar
        if bar is None and time.time() - started >= PATIENCE and done < total:
            bar = click.progressbar(length=total, label=label, file=sys.stderr)
            bar.start = bar.last_eta = started  # when the work began, so that the rest is estimated
        if bar is not None:
            bar.update(done - bar.pos)

    try:
        yield show
    finally:
        if bar is not None:
            bar.render_finish()
