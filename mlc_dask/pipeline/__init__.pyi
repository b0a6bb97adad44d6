from .figure1 import CUBE, MAPS
from .formats import kinds, open_tables
from .inputs import check_inputs, check_source
from .many_tiles import Pipeline, go_through
from .plan import Plan, dry_run, find_cube, known_catalogue, make_plan, needs, places

__all__ = [
    "CUBE",
    "MAPS",
    "Pipeline",
    "Plan",
    "check_inputs",
    "check_source",
    "dry_run",
    "find_cube",
    "go_through",
    "kinds",
    "known_catalogue",
    "make_plan",
    "needs",
    "open_tables",
    "places",
]
