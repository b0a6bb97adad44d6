"""The page of the board: one square per patch, by stage and year, coloured by state."""

from __future__ import annotations

from collections import Counter
from html import escape
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from bokeh import plotting
from bokeh.layouts import column, row
from bokeh.models import ColumnDataSource, HoverTool
from bokeh.models.widgets import Div
from bokeh.transform import factor_cmap
from dask.utils import format_bytes, format_time
from distributed.dashboard.components.scheduler import env

from mlc_dask.compute.dashboard.board import NAME, STATES, Board

_COLOURS: Final = ("#d9d9d9", "#fdae61", "#f46d43", "#7b3294", "#1a9850", "#d7191c", "#92c5de")
"""Colours of the states. They differ in lightness too, for people who cannot distinguish red and green."""

Columns = dict[str, Any]

# Bokeh's type annotations are narrower than the arguments that its models accept.
figure: Any = plotting.figure

_EVERY: Final = 1_000
"""Milliseconds between two updates."""

_STAGES: Final = 8
"""Number of stages shown, the latest ones."""

_NAME: Final = 20
"""Number of letters of a worker's name shown beside its memory."""

_EMPTY: Final[Columns] = {
    "x": [],
    "y": [],
    "state": [],
    "stage": [],
    "place": [],
    "parts": [],
    "worker": [],
    "error": [],
}


def short(stage: str) -> str:
    """Name of a stage without the fingerprint behind it."""
    name, _, tail = stage.rpartition("-")
    return name if name and len(tail) >= 8 and set(tail) <= set("0123456789abcdef") else stage


def draw(scheduler: Any, extra: dict[str, Any], doc: Any) -> None:
    """Fill a Bokeh document; called once for every browser that opens the page."""
    board: Board = scheduler.plugins[NAME]
    squares = ColumnDataSource(_EMPTY)
    memory = ColumnDataSource({"worker": [], "used": [], "text": []})
    picture = ColumnDataSource({"image": [], "dw": [], "dh": []})
    head, errors = Div(sizing_mode="stretch_width"), Div(sizing_mode="stretch_width")
    grid, bars, map_ = _grid(squares), _bars(memory), _map(picture)

    def update() -> None:
        head.text = _head(board)
        cells, ticks, columns = _squares(board)
        squares.data = cells
        grid.yaxis.ticker, grid.yaxis.major_label_overrides = list(ticks), ticks
        grid.xaxis.ticker, grid.xaxis.major_label_overrides = list(columns), columns
        memory.data, picture.data = _memory(scheduler), _mosaic(board)
        bars.y_range.factors = memory.data["worker"]
        errors.text = _errors(board)

    update()
    doc.add_periodic_callback(update, _EVERY)
    doc.title = "Dask: patches"
    side = column(map_, bars, width=420)
    doc.add_root(column(head, row(grid, side, sizing_mode="stretch_both"), errors, sizing_mode="stretch_both"))
    doc.template = env.get_template("simple.html")
    doc.template_variables.update(extra)


def _grid(source: ColumnDataSource) -> Any:
    hover = HoverTool(
        tooltips=[
            ("patch", "@stage @place"),
            ("state", "@state, @parts"),
            ("worker", "@worker"),
            ("error", "@error"),
        ]
    )
    found = figure(title="Patches", tools=[hover, "pan", "wheel_zoom", "reset"], sizing_mode="stretch_both")
    colour = factor_cmap("state", list(_COLOURS), list(STATES))
    found.rect("x", "y", 0.92, 0.92, source=source, fill_color=colour, line_color=None, legend_group="state")
    found.y_range.flipped = True
    found.grid.visible, found.axis.axis_line_color, found.axis.major_tick_line_color = False, None, None
    found.legend.visible = False
    return found


def _bars(source: ColumnDataSource) -> Any:
    found = figure(title="Memory of workers", y_range=[], x_range=(0, 1), height=200, width=420, toolbar_location=None)
    found.hbar("worker", right="used", height=0.8, source=source, color="#4575b4")
    found.text(0.01, "worker", text="text", source=source, text_baseline="middle", text_font_size="10px")
    found.xaxis.visible = found.grid.visible = False
    return found


def _map(source: ColumnDataSource) -> Any:
    found = figure(title="The map so far", height=360, width=420, match_aspect=True, toolbar_location=None)
    found.image_rgba("image", x=0, y=0, dw="dw", dh="dh", source=source)
    found.axis.visible = found.grid.visible = False
    return found


def _shown(board: Board) -> dict[str, str]:
    """Captions of the stages shown; they name the place where there are several."""
    stages = list(board.stages)[-_STAGES:]
    places = {name: board.stages[name]["place"] for name in stages}
    several = len(set(places.values())) > 1
    return {name: f"{places[name]} {short(name)}" if several else short(name) for name in stages}


def _head(board: Board) -> str:
    rate, patches = board.throughput()
    left = board.seconds_left()
    stages = _shown(board)
    counts = Counter(cell.state for cell in board.cells.values() if cell.stage in stages)
    legend = "  ".join(
        f'<span style="color:{colour}">&#9632;</span> {counts[state]} {state}'
        for state, colour in zip(STATES, _COLOURS, strict=True)
    )
    eta = f"{format_time(left)} left for the announced patches" if left else ""
    return f'<div style="font-size:15px">{legend} &emsp; {rate:,.0f} px/s, {patches:,.0f} patches/h &emsp; {eta}</div>'


def _squares(board: Board) -> tuple[Columns, dict[float, str], dict[float, str]]:
    """Squares, and the names of the rows (stages) and columns (years) by the positions of their centres."""
    stages = {name: board.stages[name] for name in _shown(board)}
    years = sorted({year for stage in stages.values() for year in stage["years"]}) or [""]
    height = 1 + max((stage["grid"][0] for stage in stages.values()), default=1)
    width = 1 + max((stage["grid"][1] for stage in stages.values()), default=1)
    top = {stage: i * height for i, stage in enumerate(stages)}
    left = {year: i * width for i, year in enumerate(years)}
    found: Columns = {name: [] for name in _EMPTY}
    for cell in (c for c in board.cells.values() if c.stage in stages):
        found["x"].append(left.get(cell.year, 0) + cell.column)
        found["y"].append(top[cell.stage] + cell.row)
        found["state"].append(cell.state)
        found["stage"].append(short(cell.stage))
        found["place"].append(f"{cell.year or 'all years'}, row {cell.row}, column {cell.column}")
        found["parts"].append(f"{cell.finished} of {len(cell.parts)}")
        found["worker"].append(cell.worker)
        found["error"].append(cell.error.splitlines()[-1] if cell.error else "")
    rows = {y + (stages[stage]["grid"][0] - 1) / 2: _shown(board)[stage] for stage, y in top.items()}
    return found, rows, {x + (width - 2) / 2: year for year, x in left.items()}


def _memory(scheduler: Any) -> Columns:
    workers = sorted(scheduler.workers.values(), key=lambda w: str(w.name))
    used = [w.memory.process for w in workers]
    limits = [w.memory_limit or 0 for w in workers]
    return {
        # Names of workers differ at their ends, and the long names of a gateway would leave no room for the bars.
        "worker": [str(w.name)[-_NAME:] for w in workers],
        "used": [u / limit if limit else 0.0 for u, limit in zip(used, limits, strict=True)],
        "text": [f"{format_bytes(u)} of {format_bytes(m)}" for u, m in zip(used, limits, strict=True)],
    }


def _mosaic(board: Board) -> Columns:
    """Show the written patches of the latest year of the latest stage."""
    if not board.thumbnails:
        return {"image": [], "dw": [], "dh": []}
    stage, year, _, _ = next(reversed(board.thumbnails))
    parts = {(r, c): t for (s, y, r, c), t in board.thumbnails.items() if (s, y) == (stage, year)}
    size = max(max(t["shape"]) for t in parts.values())
    rows, columns = board.stages[stage]["grid"]
    codes = np.zeros((rows * size, columns * size), np.uint8)
    for (r, c), thumbnail in parts.items():
        height, width = thumbnail["shape"]
        plane = np.frombuffer(thumbnail["codes"], np.uint8).reshape(height, width)
        codes[r * size : r * size + height, c * size : c * size + width] = plane
    return {"image": [_rgba(codes, board.stages[stage]["legend"])[::-1]], "dw": [columns], "dh": [rows]}


def _rgba(codes: npt.NDArray[np.uint8], legend: dict[str, str]) -> npt.NDArray[np.uint32]:
    """Colours of codes as Bokeh packs them; codes without a colour are transparent."""
    table = np.zeros((256, 4), np.uint8)
    for code, colour in legend.items():
        table[int(code)] = (*bytes.fromhex(colour.removeprefix("#")), 255)
    colours: npt.NDArray[np.uint32] = np.ascontiguousarray(table[codes]).view(np.uint32).reshape(codes.shape)
    return colours


def _errors(board: Board) -> str:
    failed = [c for c in board.cells.values() if c.error]
    lines = [f"<b>{escape(short(c.stage))} {c.year} {c.row}/{c.column}</b>: {escape(c.error)}" for c in failed[-10:]]
    return "<br>".join(lines)
