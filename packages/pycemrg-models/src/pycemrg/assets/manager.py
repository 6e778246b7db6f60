"""AssetManager: ModelManager under the name for things that are no models."""

from pycemrg.models.manager import ModelManager

AssetManager = ModelManager

__all__ = ["AssetManager"]
