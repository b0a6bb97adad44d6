from .page import Evidence, write_report

__all__ = [
    "Evidence",
    "write_report",
]
