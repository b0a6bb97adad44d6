from .accessor import Showing
from .runs import OpenedRun, open_run

__all__ = [
    "OpenedRun",
    "Showing",
    "open_run",
]
