from . import accuracy, terminal
from .export import export_maps

__all__ = ["accuracy", "export_maps", "terminal"]
