"""Model weights and archives by name: verified, cached, the right bytes every time."""

from pycemrg.models.cache import ModelCache
from pycemrg.models.checksums import HashMismatchError
from pycemrg.models.manager import ModelManager
from pycemrg.models.progress import Progress

__all__ = ["HashMismatchError", "ModelCache", "ModelManager", "Progress"]
