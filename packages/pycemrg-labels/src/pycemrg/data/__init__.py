"""Anatomical label standards, and mappings between them."""

from pycemrg.data.labels import LabelManager, LabelMapper
from pycemrg.data.problems import Problem

__all__ = ["LabelManager", "LabelMapper", "Problem"]
