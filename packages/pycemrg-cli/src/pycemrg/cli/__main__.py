"""Runs the command as ``python -m pycemrg.cli``."""

from pycemrg.cli.app import main

main()
