"""What every pycemrg package stands on: logging, manifests, files written whole."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pycemrg.core.logs import setup_logging

__all__ = ["setup_logging"]


def __getattr__(name: str) -> object:
    # `logging` takes 12 ms to import, which every package that only reads a manifest would pay.
    if name == "setup_logging":
        from pycemrg.core.logs import setup_logging

        return setup_logging
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
