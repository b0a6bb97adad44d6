"""What tasks and the client tell the scheduler, for people who watch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import xarray as xr
from distributed import default_client, get_worker

from mlc_dask.data.schema import YEAR, X, Y, colours_of

if TYPE_CHECKING:
    from mlc_dask.lazy.writing import PatchWriter

PATCH_TOPIC = "mlc-patches"
"""Scheduler topic on which stores tell of their patches, for the map of patches on the dashboard."""


def announce(
    store: PatchWriter, data: xr.Dataset | xr.DataArray, *, name: str, keys: Mapping[str, str] | None = None
) -> None:
    """Tell the scheduler's patch map, where there is one, of the patches of a store.

    Parameters
    ----------
    data
        What the store holds, or will.
    name
        Of the stage.
    keys
        The tasks that write the missing ones, and these ones' names; without any the whole store is there already.
    """
    layout, keys = store.layout, keys or {}
    years = [str(year) for year in data.get_index(YEAR)] if YEAR in data.dims else []
    patches: list[tuple[str, str, int, int, int]] = []
    for patch in store.patches():
        place, region = patch.place(layout), patch.region(layout)
        pixels = (region[Y].stop - region[Y].start) * (region[X].stop - region[X].start)
        patches.append((patch.name, years[place[YEAR]] if YEAR in place else "", place[Y], place[X], pixels))
    grid = [1 + max(p[2] for p in patches), 1 + max(p[3] for p in patches)]
    stage = {"stage": name, "place": store.place, "grid": grid, "years": years, "legend": colours_of(data)}
    tell(PATCH_TOPIC, {"event": "announced", **stage, "patches": patches, "todo": list(keys.values()), "keys": keys})


def tell_colours(colours: Mapping[int, str]) -> None:
    """Tell the patch map the colours (``#rrggbb``) by code of the stages that follow and have codes alone."""
    tell(PATCH_TOPIC, {"event": "colours", "colours": {str(code): colour for code, colour in colours.items()}})


def tell(topic: str, message: Mapping[str, Any]) -> None:
    """Send `message` from a task, or the client, to who listens to `topic` at the scheduler; nothing without one."""
    for speaker in (get_worker, default_client):
        try:
            speaker().log_event(topic, dict(message))
        except ValueError:
            continue
        return
