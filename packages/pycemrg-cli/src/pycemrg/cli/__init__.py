"""The `pycemrg` command."""

from pycemrg.cli.app import main

__all__ = ["main"]
