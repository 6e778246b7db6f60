"""Run scientific command-line tools, check what they leave behind, and source CARPentry."""

from pycemrg.system.carp_runner import CarpRunner
from pycemrg.system.errors import (
    CarpEnvironmentError,
    CommandExecutionError,
    CommandNotFoundError,
    CommandTimeoutError,
)
from pycemrg.system.runner import CommandResult, CommandRunner
from pycemrg.system.streams import OutputLine

__all__ = [
    "CarpEnvironmentError",
    "CarpRunner",
    "CommandExecutionError",
    "CommandNotFoundError",
    "CommandResult",
    "CommandRunner",
    "CommandTimeoutError",
    "OutputLine",
]
