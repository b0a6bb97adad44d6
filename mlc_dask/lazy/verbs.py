"""The verbs: kernels go in, lazy xarray objects come out."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any, TypeVar

import dask.array as da
import dask.base
import numpy as np
import numpy.typing as npt
import xarray as xr
from dask.array.overlap import ensure_minimum_chunksize, overlap
from dask.delayed import Delayed, delayed

from mlc_dask.data.schema import ACQUISITION, BAND, X, Y
from mlc_dask.lazy.failures import carried
from mlc_dask.lazy.provenance import Made, planes_of

T = TypeVar("T")
Array = npt.NDArray[Any]

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

    @carried
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
    kernel: Callable[..., Array | Made],
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
        returns (len(layers), h, w) uint8, or these and the name of the engine that computed them: :class:`Made`.
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

    @carried
    def apply(*parts: Array, parameter: Any, block_id: tuple[int, ...]) -> Made:
        with _placed(name, origins[0][block_id[-2]], origins[1][block_id[-1]]):
            found = kernel(*(p.squeeze(axis=s) for p, s in zip(parts, squeezed, strict=True)), parameter)
        made = found if isinstance(found, Made) else Made(found)
        shape = (len(layers), *parts[0].shape[-2:])
        assert made.planes.dtype == np.uint8 and made.planes.shape == shape, (name, made.planes.shape)
        return made

    with dask.base.annotate(resources={resource: 1}) if resource else nullcontext():
        made = da.map_blocks(
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
    planes = planes_of(made, len(layers))
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

    @carried
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

    @carried
    def reduce_block(*parts: Array, place: Block) -> T:
        with _placed(name, place.row, place.column):
            return chunk(*parts, block=place)

    @carried
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


def blocks_of(raster: xr.DataArray) -> Mapping[str, tuple[int, ...]]:
    """Block heights and widths of a raster, a single block when it is in memory."""
    sizes = raster.variable.chunk().chunksizes
    return {dim: sizes[dim] for dim in (Y, X)}
