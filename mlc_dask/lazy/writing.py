"""A lazy dataset into a store, patch by patch, each written where it was computed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import dask.base
import numpy as np
import numpy.typing as npt
import xarray as xr
from dask._task_spec import Dict, List, Task, TaskRef
from dask.delayed import Delayed
from dask.highlevelgraph import HighLevelGraph

from mlc_dask.data.schema import X, Y
from mlc_dask.lazy import provenance
from mlc_dask.lazy.failures import carried
from mlc_dask.lazy.tasks import compute
from mlc_dask.lazy.telemetry import PATCH_TOPIC, announce, tell

Array = npt.NDArray[Any]

_LABEL = "label"
_THUMBNAIL = 32
"""Pixels along each side of a written patch's picture at most."""


def _resource(data: xr.Dataset) -> str | None:
    """Resource that a verb marked the layers of `data` with: optimisation loses such marks."""
    graph: Any = data.__dask_graph__()  # type: ignore[no-untyped-call]
    layers = graph.layers.values() if graph is not None else ()
    marked = [layer.annotations["resources"] for layer in layers if "resources" in (layer.annotations or {})]
    return next(iter(marked[0]), None) if marked else None


class PatchWriter(Protocol):
    """What :func:`write_patches` asks of a store: which patches are missing, where they lie, and how to write one."""

    @property
    def layout(self) -> Any:
        """Layout with ``patch`` (pixels), ``by`` (dims written one index at a time) and ``arrays_of(patch)``."""

    @property
    def place(self) -> str:
        """What people call the place that it is of."""

    def patches(self) -> Sequence[Any]:
        """All patches."""

    def todo(self) -> Sequence[Any]:
        """Patches that are not done, each with a ``name`` and ``place(layout)``, its number along dimensions."""

    def write(self, patch: Any, values: Mapping[str, Array], engines: Sequence[str] = ()) -> None:
        """Write one patch, and the engines that made it into its record; called on a worker."""


# Strategy: the whole dataset is optimised once, so that variables made by one task stay made by one task; then every
# missing patch is a task of its own that depends on exactly its blocks. Finished patches are culled with all they need.
# The blocks' engines are optimised together with the blocks, so that no block is computed twice. The writing tasks
# are one layer of the graph: a Delayed call per patch would merge the whole graph per patch.
def write_patches(data: xr.Dataset, store: PatchWriter, *, name: str) -> None:
    """Compute the missing patches of `store` from the lazy `data` and write each where it was computed.

    The store is given the engines that made each patch (:class:`~mlc_dask.lazy.provenance.Made`), wherever its blocks
    were computed. They are found through the graph of `data`: data that were persisted or loaded before have lost
    theirs, and their patches name no engines.
    """
    todo, size = store.todo(), store.layout.patch
    if not todo:
        announce(store, data, name=name)
        return
    whole = {d: size if d in (Y, X) else 1 if d in store.layout.by else -1 for d in data.sizes}
    cut = data.chunk(whole)
    makers = {n: ([f"{n}-{axis}" for axis in range(by.ndim)], by) for n, by in provenance.makers(cut).items()}
    (ready,) = dask.base.optimize(cut.assign(makers))
    engines = provenance.Blocks(ready.__dask_graph__().get_all_dependencies(), makers)
    arrays, token = {n: v.data.name for n, v in ready.data_vars.items()}, dask.base.tokenize(store, ready)
    tasks: dict[Any, Task] = {}
    names = {}
    for patch in todo:
        place = patch.place(store.layout)
        parts = {n: (arrays[n], *(place.get(str(d), 0) for d in ready[n].dims)) for n in store.layout.arrays_of(patch)}
        made_by = [TaskRef((arrays[made], *at)) for made, *at in engines.behind(parts.values())]
        key = f"write-{name}-{patch.name.replace('_', '-')}-{token}"
        values = Dict({n: TaskRef(part) for n, part in parts.items()})
        tasks[key], names[key] = Task(key, _write, store, name, patch, values, List(*made_by)), patch.name
    layer = f"write-{name}-{token}"
    graph = HighLevelGraph.from_collections(layer, tasks, dependencies=[ready])
    announce(store, data, name=name, keys=names)
    compute([Delayed(key, graph, layer=layer) for key in tasks], resource=_resource(data))


@carried
def _write(store: PatchWriter, name: str, patch: Any, parts: Mapping[str, Array], made_by: Sequence[Array]) -> None:
    store.write(patch, parts, sorted({by.item() for by in made_by} - {""}))
    if _LABEL in parts:
        plane = parts[_LABEL].reshape(parts[_LABEL].shape[-2:])
        step = -(-max(plane.shape) // _THUMBNAIL)
        small = np.ascontiguousarray(plane[::step, ::step])
        picture = {"shape": small.shape, "codes": small.tobytes()}
        tell(PATCH_TOPIC, {"event": "written", "stage": name, "patch": patch.name, "thumbnail": picture})


def identity(data: xr.Dataset) -> str:
    """Token of what the variables of `data` will be computed from: the same for the same work."""
    token: str = dask.base.tokenize({str(name): v.variable for name, v in data.data_vars.items()})
    return token
