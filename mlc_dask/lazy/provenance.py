"""Which engine made a block, on its way from the task that computes the block to the task that writes it.

A block of :func:`~mlc_dask.lazy.verbs.map_pixels` is a :class:`Made`. A layer of the graph, built by
:func:`planes_of`, takes the pixels out of it; the name of that layer leads back to the blocks. So a writer finds the
blocks behind a patch in the graph (:class:`Blocks`) and asks them for their engines (:func:`makers`), whatever
lies in between: other blocks, a filter, another worker.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final, NamedTuple

import dask.array as da
import numpy as np
import numpy.typing as npt
import xarray as xr

Array = npt.NDArray[Any]
Key = Any

_PLANES_OF: Final = "planes-of-"
_MAKERS_OF: Final = "makers-of-"


class Made(NamedTuple):
    """Result of a kernel for one block.

    Parameters
    ----------
    planes
        Pixels (n, h, w) uint8.
    by
        Name of the engine that computed them; empty where no engine was needed.
    """

    planes: Array
    by: str = ""


def planes_of(made: da.Array, count: int) -> da.Array:
    """Return the `count` planes (count, y, x) uint8 of an array whose blocks are :class:`Made`."""
    planes: da.Array = da.map_blocks(
        _planes,
        made,
        chunks=((count,), *made.chunks[-2:]),
        dtype=np.uint8,
        meta=np.empty((0, 0, 0), np.uint8),
        name=f"{_PLANES_OF}{made.name}",
    )
    return planes


def _planes(made: Made) -> Array:
    return made.planes


def makers(data: xr.Dataset) -> dict[str, da.Array]:
    """Return the engines of all blocks that `data` is made from.

    Returns
    -------
    Lazy arrays (1, rows, columns) of str, one element per block, by the name of the array of :class:`Made` blocks.
    Where the graph of `data` is gone, since it was persisted or computed before, nothing is left to find: {}.
    """
    graph: Any = data.__dask_graph__()  # type: ignore[no-untyped-call]
    found = {}
    for layer, tasks in graph.layers.items():
        if layer.startswith(_PLANES_OF):
            name, keys = layer.removeprefix(_PLANES_OF), tasks.get_output_keys()
            rows, columns = (1 + max(key[axis] for key in keys) for axis in (-2, -1))
            blocks = da.Array(graph, name, chunks=((1,), (1,) * rows, (1,) * columns), dtype=object)
            found[name] = da.map_blocks(
                _by, blocks, dtype=object, meta=np.empty((0, 0, 0), object), name=f"{_MAKERS_OF}{name}"
            )
    return found


def _by(made: Made) -> Array:
    return np.array([[[made.by]]], object)


class Blocks:
    """Blocks of the arrays `names` that other keys of a graph are made from.

    Parameters
    ----------
    needed
        Dependencies of every key.
    """

    def __init__(self, needed: Mapping[Key, Iterable[Key]], names: Iterable[str]) -> None:
        self._needed, self._names = needed, frozenset(names)
        self._found: dict[Key, frozenset[Key]] = {}

    def behind(self, keys: Iterable[Key]) -> list[Key]:
        """Return the sorted keys of the blocks that `keys` depend on, directly or not."""
        return sorted(frozenset().union(*map(self._behind, keys)))

    # Remembered per key: neighbouring patches share blocks, and blocks share what they are made from.
    def _behind(self, key: Key) -> frozenset[Key]:
        if key not in self._found:
            own = {key} if isinstance(key, tuple) and key[0] in self._names else ()
            self._found[key] = frozenset(own).union(*map(self._behind, self._needed[key]))
        return self._found[key]
