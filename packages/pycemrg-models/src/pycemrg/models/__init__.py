"""Model weights and archives by name: verified, cached, the right bytes every time."""

from pycemrg.models.checksums import HashMismatchError
from pycemrg.models.manager import ModelManager

__all__ = ["HashMismatchError", "ModelManager"]
