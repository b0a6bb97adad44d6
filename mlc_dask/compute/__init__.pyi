from .backends import connect
from .preflight import preflight
from .progress import StepProgress, introduce, profiled

__all__ = [
    "StepProgress",
    "connect",
    "introduce",
    "preflight",
    "profiled",
]
