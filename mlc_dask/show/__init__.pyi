from .export import export_maps
from .report.calendar import calendar_png, calendar_text
from .report.page import key_figures

__all__ = [
    "calendar_png",
    "calendar_text",
    "export_maps",
    "key_figures",
]
