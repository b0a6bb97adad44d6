"""Interactive maps, drawn by hvPlot: the browser receives the pixels of the screen, however large the map."""

from __future__ import annotations

from typing import Any

import hvplot.xarray  # noqa: F401  (registers .hvplot)
import numpy as np
import xarray as xr
from bokeh.models import CustomJSHover, FixedTicker, HoverTool

from mlc_dask.data.errors import InputError
from mlc_dask.data.layers import Layer, layer_called
from mlc_dask.data.legend import Legend
from mlc_dask.data.schema import YEAR, X, Y, legend_of
from mlc_dask.show.notebook.layers import by_code, layer_of
from mlc_dask.show.palette import as_hex, colours_of

_WIDTH = 500
_CLASS = "position"


def interactive_map(data: xr.Dataset, name: str | None, **options: Any) -> Any:
    """HoloViews object of a layer; see :meth:`mlc_dask.show.notebook.Showing.plot`.

    Raises
    ------
    InputError
        If the map has no legend.
    """
    layer = layer_of(data, name)
    row = layer_called(str(layer.name))
    if row.values != "classes":
        look = {"aggregator": "mean", "cmap": _smooth(row), "clabel": f"{row.title} ({row.unit})", "hover": True}
        drawn, key = layer, {}
    else:
        if "legend" not in data.attrs:
            raise InputError(
                f"map {layer.name!r} has no legend; plot it from its Dataset: maps.mlc.plot({layer.name!r})"
            )
        legend = legend_of(data)
        drawn, look, key = _positions(layer, legend), _look(legend), _key(legend)
    years = {"groupby": YEAR, "dynamic": True} if YEAR in layer.dims else {}
    shape = {"data_aspect": 1, "frame_width": _WIDTH, "title": row.title, "xformatter": "%d", "yformatter": "%d"}
    image = drawn.hvplot.image(x=X, y=Y, rasterize=True, **{**years, **shape, **look, **options})
    return image.opts(colorbar_opts=key) if key else image


def _smooth(row: Layer) -> list[str]:
    return [as_hex(colour) for value, colour in colours_of(row, 255).items() if value]


def _positions(layer: xr.DataArray, legend: Legend) -> xr.DataArray:
    """Codes become 1, 2, … in order, so that colours have equal steps; 0 stays no data."""
    table = np.zeros(256, np.uint8)
    table[sorted(legend.codes)] = np.arange(1, len(legend.codes) + 1)
    found: xr.DataArray = xr.apply_ufunc(table.__getitem__, layer, dask="parallelized", output_dtypes=[np.uint8])
    return found.rename(_CLASS)


def _look(legend: Legend) -> dict[str, Any]:
    classes = by_code(legend)
    names, count = [c.name for c in classes], len(classes)
    formatter = CustomJSHover(args={"names": ["no data", *names]}, code="return names[value] ?? 'no data'")
    hover = HoverTool(tooltips=[("class", "@image{custom}")], formatters={"@image": formatter})
    return {
        "aggregator": "mode",
        "cmap": [c.colour for c in classes],
        "clim": (0.5, count + 0.5),
        "hover": False,
        "tools": [hover],
        "colorbar": True,
        "clabel": "",
    }


def _key(legend: Legend) -> dict[str, Any]:
    """Names of the classes beside the colour bar."""
    names = dict(enumerate((c.name for c in by_code(legend)), start=1))
    return {"ticker": FixedTicker(ticks=list(names)), "major_label_overrides": names}
