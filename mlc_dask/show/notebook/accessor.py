"""The accessor ``mlc`` of xarray objects: ``data.mlc`` shows a card, ``data.mlc.plot()`` an interactive map.

Importing xarray imports this module. Here xarray must be the only import that waits for xarray; otherwise another
thread that imports the same module would wait for this thread.
"""

from __future__ import annotations

from typing import Any

import xarray as xr

from mlc_dask.data.errors import InputError


class Showing:
    """A cube, a set of maps, or one map as a notebook shows it.

    As the last line of a cell, ``cube.mlc`` or ``maps.mlc`` shows the data by a few pixels that are stored or in
    memory. Nothing is computed for it. Needs the extra ``notebook``.
    """

    def __init__(self, data: xr.Dataset | xr.DataArray) -> None:
        if isinstance(data, xr.DataArray):
            data = data.to_dataset(name=data.name or "map").assign_attrs(data.attrs)
        self._data = data

    def __repr__(self) -> str:
        sizes = ", ".join(f"{dim} {n}" for dim, n in self._data.sizes.items())
        return f"<{self._kind}: {sizes}>"

    @property
    def _kind(self) -> str:
        from mlc_dask.show.notebook.layers import codes_among

        if "reflectance" in self._data:
            return "cube"
        return "maps" if codes_among(self._data) else "data"

    def _repr_html_(self) -> str:
        if self._kind == "cube":
            from mlc_dask.show.notebook.cube import cube_card

            return cube_card(self._data)
        from mlc_dask.show.notebook.maps import maps_card

        return maps_card(self._data)

    def plot(self, layer: str | None = None, **options: Any) -> Any:
        """Show a layer as an interactive map: pan, zoom, classes by name under the pointer, years on a slider.

        Parameters
        ----------
        layer
            Name of the layer; by default the final maps, ``multi_year_filtered`` of a run.
        options
            Options for hvPlot's ``image``, e.g. ``frame_width=800``.

        Returns
        -------
        A HoloViews object: the map, with a slider for its years. The browser receives only pixels that the screen can
        show.

        Raises
        ------
        InputError
            When there is no such layer, the map has no legend, or hvPlot is not installed.
        """
        if self._kind == "cube":
            raise InputError("plot shows maps, but this is a cube; put cube.mlc on the last line of a cell to see it")
        try:
            from mlc_dask.show.notebook.interactive import interactive_map
        except ModuleNotFoundError as error:
            raise InputError(
                f'interactive maps need {error.name}; install it with: pip install "mlc-dask[notebook]"'
            ) from None
        return interactive_map(self._data, layer, **options)


for _register in (xr.register_dataset_accessor, xr.register_dataarray_accessor):
    _register("mlc")(Showing)  # type: ignore[no-untyped-call]
