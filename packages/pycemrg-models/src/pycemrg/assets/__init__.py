"""Solvers, atlases and other archives by name, as `pycemrg.models` does it for models."""

from pycemrg.assets.manager import AssetManager

__all__ = ["AssetManager"]
