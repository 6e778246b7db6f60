"""`LabelManager` and `LabelMapper` under one name, from which programs import both."""

from pycemrg.data.manager import LabelManager
from pycemrg.data.mapper import LabelMapper

__all__ = ["LabelManager", "LabelMapper"]
