"""What a patch store holds, declared before anything is computed: its arrays, and the patches it is written by."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import xarray as xr

from mlc_dask.data.errors import InputError
from mlc_dask.data.legend import NEVER_WRITTEN
from mlc_dask.data.schema import YEAR, X, Y


@dataclass(frozen=True)
class ArrayLayout:
    """One array of a store; `chunks` are its chunks' sizes, `fill_value` is read where none was written."""

    dims: tuple[str, ...]
    shape: tuple[int, ...]
    dtype: str
    chunks: tuple[int, ...]
    fill_value: int | float | bool
    attrs: Mapping[str, Any] = field(default_factory=dict)

    @property
    def sizes(self) -> dict[str, int]:
        """Dimension → length."""
        return dict(zip(self.dims, self.shape, strict=True))


@dataclass(frozen=True, order=True)
class Patch:
    """One square of the grid, in one year or one acquisition: the unit of writing.

    `index` is its place along the layout's ``by`` dimensions; empty for arrays that have none of them.
    """

    index: tuple[int, ...]
    row: int
    column: int

    @property
    def name(self) -> str:
        """Name of the patch in records and messages, e.g. ``1_0_3``, or ``all_0_3`` without a year."""
        return "_".join(map(str, [*(self.index or ("all",)), self.row, self.column]))

    def place(self, layout: Layout) -> dict[str, int]:
        """Return the number of the patch along every dimension that it is a part of."""
        return {**dict(zip(layout.by, self.index, strict=False)), Y: self.row, X: self.column}

    def region(self, layout: Layout) -> dict[str, slice]:
        """Slices of y and x, and of the dimensions that it has an index of, fit for ``isel``."""
        (height, width), size = layout.extent, layout.patch
        top, left = self.row * size, self.column * size
        return {
            **{dim: slice(i, i + 1) for dim, i in zip(layout.by, self.index, strict=False)},
            Y: slice(top, min(top + size, height)),
            X: slice(left, min(left + size, width)),
        }


@dataclass(frozen=True)
class Layout:
    """Arrays that share a grid, the patch size in pixels, coordinates and attributes.

    `by` names the dimensions besides y and x that are written one index at a time: years, or years and acquisitions.
    An array has all of them or none. A patch must be whole chunks of every array, since a chunk with two writers loses
    what one of them wrote.
    Attributes are part of the declaration: those that change from run to run (times, hosts) do not belong there.

    Raises
    ------
    InputError
        When the arrays differ in extent, or chunks and patches do not fit.
    """

    arrays: Mapping[str, ArrayLayout]
    patch: int
    coords: Mapping[str, xr.DataArray] = field(default_factory=dict)
    attrs: Mapping[str, Any] = field(default_factory=dict)
    by: tuple[str, ...] = (YEAR,)

    def __post_init__(self) -> None:
        assert self.arrays, "a store without arrays"
        if self.patch < 1:
            raise InputError(f"the patch size is {self.patch}; expected at least one pixel")
        for name, array in self.arrays.items():
            assert {Y, X} <= set(array.dims), (name, array.dims)
            assert len(array.dims) == len(array.shape) == len(array.chunks), (name, array)
            if (array.sizes[Y], array.sizes[X]) != self.extent:
                raise InputError(f"{name} has {array.sizes[Y]} × {array.sizes[X]} pixels, not {self.extent}; regrid it")
            self._check_chunks(name, array)
        for name, array in self.arrays.items():
            assert not set(self.by) & set(array.dims) or set(self.by) <= set(array.dims), (name, self.by)
        lengths = {self._lengths(a) for a in self.arrays.values() if self._indexed(a)}
        assert len(lengths) <= 1, f"arrays with {lengths} along {self.by}"

    def _indexed(self, array: ArrayLayout) -> bool:
        return set(self.by) <= set(array.dims)

    def _lengths(self, array: ArrayLayout) -> tuple[int, ...]:
        return tuple(array.sizes[dim] for dim in self.by)

    def _check_chunks(self, name: str, array: ArrayLayout) -> None:
        for dim, length, chunk in zip(array.dims, array.shape, array.chunks, strict=True):
            if dim in self.by and chunk != 1:
                raise InputError(
                    f"{name} has chunks of {chunk} along {dim}, which is written one by one; use chunks of 1"
                )
            if dim in (Y, X) and self.patch % chunk and self.patch < length:
                raise InputError(
                    f"a patch of {self.patch} pixels is not a whole number of {name}'s chunks of {chunk} along {dim}; "
                    f"choose a patch size that is a multiple of {chunk}"
                )

    @classmethod
    def of(
        cls,
        data: xr.Dataset,
        *,
        patch: int,
        chunk: int | None = None,
        fill: Mapping[str, Any] | None = None,
        by: tuple[str, ...] = (YEAR,),
    ) -> Layout:
        """Layout of the (lazy) variables of `data`, whose last two dims are (y, x).

        Parameters
        ----------
        patch, chunk
            Patch size, and chunk size along y and x (by default the patch size), in pixels. Other dims, but those
            written one index at a time (`by`), are one chunk each.
        fill
            Fill value by name; by default 255 for uint8 (never written), else 0.
        """
        sizes = dict.fromkeys((Y, X), chunk or patch) | dict.fromkeys(by, 1)
        arrays = {}
        for name, v in data.data_vars.items():
            usual = NEVER_WRITTEN if v.dtype == np.uint8 else v.dtype.type(0).item()
            arrays[str(name)] = ArrayLayout(
                dims=tuple(str(d) for d in v.dims),
                shape=v.shape,
                dtype=v.dtype.name,
                chunks=tuple(sizes.get(str(d), n) for d, n in zip(v.dims, v.shape, strict=True)),
                fill_value=(fill or {}).get(str(name), usual),
                attrs=v.attrs,
            )
        return cls(arrays, patch, {str(k): c for k, c in data.coords.items()}, data.attrs, by)

    @property
    def extent(self) -> tuple[int, int]:
        """Height and width in pixels."""
        sizes = next(iter(self.arrays.values())).sizes
        return sizes[Y], sizes[X]

    def patches(self) -> list[Patch]:
        """All patches, index by index and row by row; those of the arrays without an index come last."""
        rows, columns = (range(-(-n // self.patch)) for n in self.extent)
        lengths = {self._lengths(a) for a in self.arrays.values() if self._indexed(a)}
        indices: list[tuple[int, ...]] = [i for n in lengths for i in itertools.product(*map(range, n))]
        if not all(self._indexed(a) for a in self.arrays.values()):
            indices.append(())
        return [Patch(*place) for place in itertools.product(indices, rows, columns)]

    def arrays_of(self, patch: Patch) -> dict[str, ArrayLayout]:
        """Arrays that `patch` is a part of: those with the dimensions of its index, or those without."""
        return {n: a for n, a in self.arrays.items() if self._indexed(a) == bool(patch.index)}

    def region(self, patch: Patch, name: str) -> tuple[slice, ...]:
        """Slices of `patch` in every dim of the array `name`."""
        place = patch.region(self)
        return tuple(place.get(dim, slice(0, n)) for dim, n in self.arrays[name].sizes.items())

    def files(self, patch: Patch) -> list[str]:
        """Chunk files of `patch`, relative to the store."""
        found = []
        for name, array in self.arrays_of(patch).items():
            spans = zip(self.region(patch, name), array.chunks, strict=True)
            numbers = itertools.product(*(range(s.start // c, -(-s.stop // c)) for s, c in spans))
            found += ["/".join((name, "c", *map(str, n))) for n in numbers]
        return found
