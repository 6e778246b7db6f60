"""Anatomical label standards, and mappings between them."""

from pycemrg.data.annotations import Code
from pycemrg.data.manager import LabelManager
from pycemrg.data.mapper import LabelMapper
from pycemrg.data.problems import Problem

__all__ = ["Code", "LabelManager", "LabelMapper", "Problem"]
