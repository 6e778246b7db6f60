"""Starter files of a project, and the names of its outputs."""

from pycemrg.files.output import OutputManager
from pycemrg.files.project import ProjectScaffolder
from pycemrg.files.scaffold import ConfigScaffolder

__all__ = ["ConfigScaffolder", "OutputManager", "ProjectScaffolder"]
