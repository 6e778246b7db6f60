"""What every pycemrg package stands on: logging, manifests, files written whole."""

from pycemrg.core.logs import setup_logging

__all__ = ["setup_logging"]
