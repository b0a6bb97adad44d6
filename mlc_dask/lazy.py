"""The only room that builds Dask graphs: kernels go in, lazy xarray objects come out.

Four verbs carry the method: :func:`map_pixels` applies a kernel to every pixel, :func:`map_neighbourhood` to every
pixel with its surroundings, :func:`reduce_blocks` folds all blocks into one value, :func:`gather_pixels` takes the
series of chosen pixels. Two more stand at its ends: :func:`read_blocks` makes a raster from a reader,
:func:`write_patches` stores one. Kernels never see Dask; when one fails on a block, the error names the block's place.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

import dask.array as da
import dask.base
import numpy as np
import numpy.typing as npt
import xarray as xr
from dask.array.overlap import ensure_minimum_chunksize, overlap
from dask.delayed import Delayed, delayed
from distributed import default_client, get_worker

from mlc_dask.schema import ACQUISITION, BAND, YEAR, X, Y

T = TypeVar("T")
Array = npt.NDArray[Any]

PATCH_TOPIC = "mlc-patches"
"""Scheduler topic on which stores tell of their patches, for the map of patches on the dashboard."""

_LABEL = "label"
_THUMBNAIL = 32
"""Pixels along each side of a written patch's picture at most."""

_FAN_IN = 8
_CORE = (ACQUISITION, BAND)


@dataclass(frozen=True)
class Block:
    """Where a block lies in the whole raster: its first row and column, and the raster's width, in pixels."""

    row: int
    column: int
    width: int

    def pixel_ids(self, shape: tuple[int, int]) -> npt.NDArray[np.uint64]:
        """Global pixel ids (h, w) uint64 of a block of `shape`: row * width + column of the whole raster."""
        rows = np.arange(self.row, self.row + shape[0], dtype=np.uint64)
        columns = np.arange(self.column, self.column + shape[1], dtype=np.uint64)
        ids: npt.NDArray[np.uint64] = rows[:, None] * np.uint64(self.width) + columns[None, :]
        return ids


@contextmanager
def _placed(name: str, row: int, column: int) -> Iterator[None]:
    try:
        yield
    except Exception as error:
        error.add_note(f"while {name} worked on the block that begins at row {row}, column {column}")
        raise


def _origins(data: da.Array) -> tuple[list[int], list[int]]:
    return tuple([0, *np.cumsum(c)[:-1].tolist()] for c in data.chunks[-2:])  # type: ignore[return-value]


# Strategy: one task per (y, x) block. The blocks of a raster are numbered by a tiny index array with the raster's own
# chunking, so that Dask's blockwise machinery (fusion, culling, naming) applies, and a block's reader learns its place.
def read_blocks(
    reader: Callable[[slice, slice], Array],
    *,
    leading: Sequence[int],
    chunks: tuple[tuple[int, ...], tuple[int, ...]],
    dtype: Any,
    name: str,
) -> da.Array:
    """Lazy array (*leading, y, x) whose block at (rows, columns) is ``reader(rows, columns)``.

    Parameters
    ----------
    reader
        Takes two slices of the whole raster, returns (*leading, h, w) of `dtype`.
    leading
        Sizes of the dimensions before y and x; they are never split.
    chunks
        Block heights and block widths in pixels.
    """
    rows, columns = (np.cumsum([0, *c]) for c in chunks)

    def read(block_id: tuple[int, ...]) -> Array:
        i, j = block_id[-2:]
        with _placed(name, int(rows[i]), int(columns[j])):
            return reader(slice(int(rows[i]), int(rows[i + 1])), slice(int(columns[j]), int(columns[j + 1])))

    blocks: da.Array = da.map_blocks(
        read,
        chunks=(*((n,) for n in leading), *chunks),
        dtype=dtype,
        meta=np.empty((0,) * (len(leading) + 2), dtype),
        name=f"{name}-{dask.base.tokenize(reader, leading, chunks)}",
    )
    return blocks


def _aligned(raster: xr.DataArray) -> tuple[da.Array, tuple[int, ...]]:
    """Dask array (acquisition, band, y, x) of `raster` with size-1 axes for the dims it lacks, and those axes."""
    missing = tuple(i for i, dim in enumerate(_CORE) if dim not in raster.dims)
    unknown = set(raster.dims) - {*_CORE, Y, X}
    assert not unknown, f"map_pixels works on one year at a time, got dims {raster.dims}"
    ordered = raster.transpose(*(d for d in _CORE if d in raster.dims), Y, X)
    data = ordered.chunk({d: -1 for d in ordered.dims if d in _CORE}).data
    return da.expand_dims(data, missing) if missing else data, missing


# Strategy: the rasters of one year, aligned to (acquisition, band, y, x), go block by block through map_blocks. Only y
# and x are ever split, so a block is a patch with complete series. `parameter` (a model, clusters) is one delayed node
# that every block depends on: it travels to a worker once, not once per block.
def map_pixels(
    kernel: Callable[..., Array],
    *rasters: xr.DataArray,
    layers: Sequence[str],
    name: str,
    parameter: Any = None,
    resource: str | None = None,
) -> xr.Dataset:
    """Apply `kernel` to every block of one year's rasters.

    Parameters
    ----------
    kernel
        ``kernel(*blocks, parameter)`` with blocks (T, B, h, w), (T, h, w) or (h, w) as their rasters are, in order;
        returns (len(layers), h, w) uint8.
    rasters
        Lazy arrays with dims out of (acquisition, band, y, x) on one grid; the first one's blocks are used for all.
    layers
        Names of the kernel's output planes.
    name
        How the tasks are called on the dashboard, e.g. ``classify-lstm-2019``.
    parameter
        Delivered once per worker.
    resource
        Workers' resource that the kernel runs best with; :func:`write_patches` sends it there, where any has it.

    Returns
    -------
    Dataset of the `layers` (y, x) uint8, lazy.
    """
    grid = rasters[0]
    blocks = blocks_of(grid)
    arrays, squeezed = zip(*(_aligned(r.chunk(blocks)) for r in rasters), strict=True)
    origins = _origins(arrays[0])

    def apply(*parts: Array, parameter: Any, block_id: tuple[int, ...]) -> Array:
        with _placed(name, origins[0][block_id[-2]], origins[1][block_id[-1]]):
            found = kernel(*(p.squeeze(axis=s) for p, s in zip(parts, squeezed, strict=True)), parameter)
        assert found.dtype == np.uint8 and found.shape == (len(layers), *parts[0].shape[-2:]), (name, found.shape)
        return found

    with dask.base.annotate(resources={resource: 1}) if resource else nullcontext():
        planes = da.map_blocks(
            apply,
            *arrays,
            parameter=delayed(parameter, pure=True),
            drop_axis=(0, 1),
            new_axis=0,
            chunks=((len(layers),), *arrays[0].chunks[-2:]),
            dtype=np.uint8,
            meta=np.empty((0, 0, 0), np.uint8),
            token=name,
        )
    coords = {d: grid.coords[d] for d in (Y, X) if d in grid.coords}
    return xr.Dataset({layer: ((Y, X), planes[i]) for i, layer in enumerate(layers)}, coords=coords)


def _wide(chunks: tuple[int, ...], radius: int) -> tuple[int, ...]:
    """Blocks along one dim, merged where the halo of one would reach past its neighbour."""
    whole = sum(chunks)
    merged: tuple[int, ...] = ensure_minimum_chunksize(radius, chunks) if whole > radius else (whole,)
    return merged


# Strategy: every block gets a halo of `radius` from its neighbours, and none at the raster's edge, so the kernel sees
# exactly the pixels that exist and the result cannot depend on the blocks. The halo is cut off in the kernel's own
# task, which keeps its name through fusion.
def map_neighbourhood(
    kernel: Callable[[Array], Array], raster: xr.DataArray, *, radius: int, name: str, dtype: Any = np.uint8
) -> xr.DataArray:
    """Apply `kernel` ((h, w) → (h, w)), which looks `radius` pixels around, to every plane of `raster` (…, y, x)."""
    data = raster.chunk(dict.fromkeys(raster.dims[:-2], 1)).data
    lead = data.ndim - 2
    wide = data.rechunk((*data.chunks[:lead], *(_wide(c, radius) for c in data.chunks[lead:])))
    (heights, widths), (rows, columns) = wide.chunks[lead:], _origins(wide)
    depth = {i: radius if i >= lead and wide.numblocks[i] > 1 else 0 for i in range(data.ndim)}

    def apply(block: Array, block_id: tuple[int, ...]) -> Array:
        i, j = block_id[lead:]
        with _placed(name, rows[i], columns[j]):
            found = kernel(block.reshape(block.shape[lead:]))
        top, left = min(i, 1) * radius, min(j, 1) * radius
        inner = found[top : top + heights[i], left : left + widths[j]]
        return inner.reshape((1,) * lead + inner.shape)

    found = da.map_blocks(
        apply,
        overlap(wide, depth=depth, boundary="none"),
        chunks=wide.chunks,
        dtype=dtype,
        meta=np.empty((0,) * data.ndim, dtype),
        token=name,
    )
    return raster.copy(data=found.rechunk(data.chunks))


# Strategy: every block is reduced on its own, then eight by eight in a tree. `combine` must be associative and
# commutative, so that neither the blocks nor the order of arrival can show in the result.
def reduce_blocks(
    chunk: Callable[..., T],
    combine: Callable[[T, T], T],
    *rasters: xr.DataArray,
    name: str,
) -> Delayed:
    """Fold all blocks of `rasters` (…, y, x) into one value.

    Parameters
    ----------
    chunk
        ``chunk(*blocks, block: Block)`` → partial result.
    combine
        Two partial results → one.

    Returns
    -------
    Delayed partial result over the whole raster; the caller finalises it after :func:`compute`.
    """
    blocks = blocks_of(rasters[0])
    arrays = [r.chunk({**dict.fromkeys(r.dims[:-2], -1), **blocks}).data for r in rasters]
    width = rasters[0].sizes[X]
    (rows, columns), token = _origins(arrays[0]), dask.base.tokenize(chunk, combine, *arrays)
    grids = [a.to_delayed().reshape(len(rows), len(columns)) for a in arrays]

    def reduce_block(*parts: Array, place: Block) -> T:
        with _placed(name, place.row, place.column):
            return chunk(*parts, block=place)

    def fold(parts: list[T]) -> T:
        total, *rest = parts
        for part in rest:
            total = combine(total, part)
        return total

    level = [
        delayed(reduce_block)(
            *(g[i, j] for g in grids), place=Block(row, column, width), dask_key_name=f"{name}-{token}-{i}-{j}"
        )
        for i, row in enumerate(rows)
        for j, column in enumerate(columns)
    ]
    depth = 0
    while len(level) > 1:
        depth += 1
        level = [
            delayed(fold)(level[i : i + _FAN_IN], dask_key_name=f"combine-{name}-{token}-{depth}-{i}")
            for i in range(0, len(level), _FAN_IN)
        ]
    whole: Delayed = level[0]
    return whole


def gather_pixels(raster: xr.DataArray, rows: Array, columns: Array, *, dim: str) -> xr.DataArray:
    """Values of `raster` (…, y, x) at pixels (rows, columns): (dim, …), lazy, in the order asked for."""
    at = {Y: xr.DataArray(rows, dims=dim), X: xr.DataArray(columns, dims=dim)}
    return raster.drop_vars([Y, X], errors="ignore").isel(at).transpose(dim, ...)


def call(function: Callable[..., T], *arguments: Any, name: str, **settings: Any) -> Delayed:
    """One task of its own, named for the dashboard; lazy `arguments` are handed over computed."""
    token = dask.base.tokenize(function, *arguments, **settings)
    task: Delayed = delayed(function)(*arguments, **settings, dask_key_name=f"{name}-{token}")
    return task


def compute(things: Any, *, resource: str | None = None) -> Any:
    """Compute every lazy value in `things` (a collection, a list, a mapping) on the current Dask scheduler.

    Parameters
    ----------
    resource
        Where workers have it, only those are given the tasks; a resource that nobody has is not waited for.
    """
    asked = {"resources": {resource: 1}} if resource and _somebody_has(resource) else {}
    return dask.base.compute(things, **asked)[0]


def _somebody_has(resource: str) -> bool:
    try:
        workers = default_client().scheduler_info(n_workers=-1)["workers"].values()
    except ValueError:
        return False
    return any(worker["resources"].get(resource) for worker in workers)


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

    def write(self, patch: Any, values: Mapping[str, Array]) -> None:
        """Write one patch; called on a worker."""


# Strategy: the whole dataset is optimised once, so that variables made by one task stay made by one task; then every
# missing patch is a task of its own that depends on exactly its blocks. Finished patches are culled with all they need.
def write_patches(data: xr.Dataset, store: PatchWriter, *, name: str) -> None:
    """Compute the missing patches of `store` from the lazy `data` and write each where it was computed."""
    todo, size = store.todo(), store.layout.patch
    if not todo:
        announce(store, data, name=name)
        return
    whole = {d: size if d in (Y, X) else 1 if d in store.layout.by else -1 for d in data.sizes}
    (ready,) = dask.base.optimize(data.chunk(whole))
    blocks = {n: v.data.to_delayed(optimize_graph=False) for n, v in ready.data_vars.items()}
    tasks = {}
    for patch in todo:
        place = patch.place(store.layout)
        parts = {
            n: blocks[n][tuple(place.get(str(d), 0) for d in ready[n].dims)] for n in store.layout.arrays_of(patch)
        }
        key = f"write-{name}-{patch.name.replace('_', '-')}-{dask.base.tokenize(store, parts)}"
        tasks[patch.name] = delayed(_write)(store, name, patch, parts, dask_key_name=key)
    announce(store, data, name=name, keys={task.key: patch for patch, task in tasks.items()})
    compute(list(tasks.values()), resource=_resource(data))


def _write(store: PatchWriter, name: str, patch: Any, parts: Mapping[str, Array]) -> None:
    store.write(patch, parts)
    if _LABEL in parts:
        plane = parts[_LABEL].reshape(parts[_LABEL].shape[-2:])
        step = -(-max(plane.shape) // _THUMBNAIL)
        small = np.ascontiguousarray(plane[::step, ::step])
        picture = {"shape": small.shape, "codes": small.tobytes()}
        tell(PATCH_TOPIC, {"event": "written", "stage": name, "patch": patch.name, "thumbnail": picture})


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
    named = {c: e for c, e in data.attrs.get("legend", {}).items() if isinstance(e, Mapping) and "colour" in e}
    legend = {code: entry["colour"] for code, entry in named.items()}
    grid = [1 + max(p[2] for p in patches), 1 + max(p[3] for p in patches)]
    stage = {"stage": name, "place": store.place, "grid": grid, "years": years, "legend": legend}
    tell(PATCH_TOPIC, {"event": "announced", **stage, "patches": patches, "todo": list(keys.values()), "keys": keys})


def identity(data: xr.Dataset) -> str:
    """Token of what the variables of `data` will be computed from: the same for the same work."""
    token: str = dask.base.tokenize({str(name): v.variable for name, v in data.data_vars.items()})
    return token


def tell(topic: str, message: Mapping[str, Any]) -> None:
    """Send `message` from a task, or the client, to who listens to `topic` at the scheduler; nothing without one."""
    for speaker in (get_worker, default_client):
        try:
            speaker().log_event(topic, dict(message))
        except ValueError:
            continue
        return


def blocks_of(raster: xr.DataArray) -> Mapping[str, tuple[int, ...]]:
    """Block heights and widths of a raster, a single block when it is in memory."""
    sizes = raster.variable.chunk().chunksizes
    return {dim: sizes[dim] for dim in (Y, X)}
