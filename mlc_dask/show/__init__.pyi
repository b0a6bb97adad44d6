from . import terminal
from .export import export_maps

__all__ = ["export_maps", "terminal"]
