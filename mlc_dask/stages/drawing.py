"""Drawing training pixels from label maps and gathering their series, for both training sets."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr
from dask.delayed import Delayed

from mlc_dask import lazy
from mlc_dask.data.errors import InputError
from mlc_dask.data.legend import Legend
from mlc_dask.data.schema import SAMPLE, WITNESS, WITNESS_YEAR, YEAR, X, Y, days_of
from mlc_dask.data.settings import GapMethod
from mlc_dask.data.steps import step
from mlc_dask.kernels.gaps import count_valid, fill
from mlc_dask.kernels.sampling.allocation import allocate
from mlc_dask.kernels.sampling.candidates import Candidates, candidates, merge
from mlc_dask.kernels.sampling.priority import priority
from mlc_dask.stages.settings import Gaps

Array = npt.NDArray[Any]

Keep = Callable[[npt.NDArray[np.int64], npt.NDArray[np.int64]], npt.NDArray[np.bool_]]
"""Function from global rows and columns of pixels to a mask of those that belong to a split."""


class Split(IntEnum):
    """Purpose of a sample, as stored in ``split``."""

    TRAINING = 0
    VALIDATION = 1


class SampleSource(IntEnum):
    """Origin of a sample, as stored in ``source``."""

    ANNUAL = 1
    UNCHANGED = 2


@dataclass(frozen=True)
class Pool:
    """The result of one reduction over a label map: pixels per code (256,), and the candidates of every code."""

    counts: npt.NDArray[np.int64]
    candidates: Candidates

    def combine(self, other: Pool, limit: Array) -> Pool:
        """Merge the pools of two sets of blocks; associative and commutative."""
        return Pool(self.counts + other.counts, merge(self.candidates, other.candidates, limit))


@dataclass(frozen=True)
class Drawn:
    """Chosen pixels of one year and split, sorted by id: codes, global ids and 1 + cluster (0 is none), (n,) each."""

    year: int
    split: Split
    label: npt.NDArray[np.uint8]
    id: npt.NDArray[np.int64]
    cluster: npt.NDArray[np.uint8]


def eligible(labels: xr.DataArray, cube: xr.Dataset, year: int, gaps: Gaps) -> xr.DataArray:
    """Labels (y, x) of pixels with enough usable dates in the year, else 0."""
    usable = cube.usable.sel({YEAR: year}, drop=True)
    return lazy.map_pixels(
        _where_enough, labels, usable, layers=("label",), name=f"eligible-{year}", parameter=gaps.min_valid
    )["label"]


def _where_enough(labels: Array, usable: Array, least: int) -> Array:
    enough = count_valid(usable.reshape(len(usable), -1)).reshape(labels.shape) >= least
    found: Array = (labels * enough).astype(np.uint8)
    return found[None]


def pool(
    labels: xr.DataArray,
    quota: xr.DataArray,
    clusters: xr.DataArray | None = None,
    *,
    seed: int,
    stream: str,
    limit: int,
    keep: Keep | None = None,
    name: str,
) -> Delayed:
    """Lazy :class:`Pool` of a label map (y, x): the `limit` lowest-priority pixels of every code.

    `quota` (y, x) uint8 is the percentage of pixels that may be drawn from each pixel's product code. `clusters` (y, x)
    uint8, if given, is 1 + the cluster number of every pixel, which its candidate keeps.
    """
    most = np.full(256, limit, np.int64)

    def chunk(codes: Array, percent: Array, cluster: Array | None = None, *, block: lazy.Block) -> Pool:
        ids = block.pixel_ids(codes.shape)
        wanted = admitted(ids, percent, seed)
        if keep is not None:
            rows, columns = np.divmod(ids, np.uint64(block.width))
            wanted &= keep(rows.astype(np.int64), columns.astype(np.int64))
        kept = np.where(wanted, codes, 0).astype(np.uint8)
        counts = np.bincount(kept.ravel(), minlength=256)
        counts[0] = 0
        return Pool(counts, candidates(kept, ids, priority(seed, stream, ids), most, cluster))

    rasters = (labels, quota) if clusters is None else (labels, quota, clusters)
    return lazy.reduce_blocks(chunk, lambda a, b: a.combine(b, most), *rasters, name=name)


def admitted(ids: Array, percent: Array, seed: int) -> Array:
    """Mask of the pixels that the quota of their code admits, a fixed pseudo-random share of all pixels.

    Parameters
    ----------
    ids, percent
        Global ids uint64 and quotas uint8 of the pixels, of one shape.
    """
    share: Array = (priority(seed, "quota", ids) % np.uint64(100)) < percent
    return share


def choose(found: Pool, *, size: int, priors: Array, minimum: int, year: int, split: Split) -> Drawn:
    """Stratified sample of a pool: `size` pixels, with the old map's priors (256,) and a least number per class."""
    wanted = allocate(found.counts, size, priors, minimum)
    picked = found.candidates.lowest(wanted)
    order = np.argsort(picked.id, kind="stable")
    return Drawn(year, split, picked.label[order], picked.id[order], picked.cluster[order])


def class_counts(labels: xr.DataArray, name: str) -> npt.NDArray[np.int64]:
    """Pixels per code (256,) of a label map; no data is not counted."""

    def chunk(codes: Array, *, block: lazy.Block) -> npt.NDArray[np.int64]:
        return np.bincount(codes.ravel(), minlength=256)

    counts: npt.NDArray[np.int64] = lazy.compute(lazy.reduce_blocks(chunk, lambda a, b: a + b, labels, name=name))
    counts[0] = 0
    return counts


def series(cube: xr.Dataset, year: int, ids: Array) -> tuple[xr.DataArray, xr.DataArray]:
    """Lazy series of pixels `ids` (n,): DN (sample, acquisition, band) uint16, usable (sample, acquisition) bool."""
    rows, columns = np.divmod(ids.astype(np.int64), cube.sizes[X])
    one = cube.sel({YEAR: year}, drop=True)
    return (
        lazy.gather_pixels(one.reflectance, rows, columns, dim=SAMPLE),
        lazy.gather_pixels(one.usable, rows, columns, dim=SAMPLE),
    )


def collect(
    cube: xr.Dataset, drawn: Sequence[Drawn], *, source: SampleSource, gaps: Gaps, legend: Legend
) -> xr.Dataset:
    """Gather the samples of all years with their series and provenance.

    Returns
    -------
    Dataset along ``sample``: ``dn`` (sample, acquisition, band) uint16 as observed, ``usable`` (sample, acquisition)
    bool, ``label`` uint8, ``split`` uint8 (:class:`Split`), ``cluster`` uint8 (1 + cluster, 0 is none), ``source``
    uint8 (:class:`SampleSource`), ``year``, ``row``, ``column``, ``y_position``, ``x_position``; ``days``
    (year_of_days, acquisition) in the attributes as nested lists.

    Raises
    ------
    InputError
        If no pixel can become a sample.
    """
    kept = [d for d in drawn if len(d.id)]
    if not kept:
        raise InputError("no pixel can become a sample; lower min_valid, or check that product and cube overlap")
    gathered = lazy.compute([series(cube, d.year, d.id) for d in kept])
    ids = np.concatenate([d.id for d in kept]).astype(np.int64)
    rows, columns = np.divmod(ids, cube.sizes[X])

    def column(value: Any, dtype: Any) -> tuple[str, Array]:
        return SAMPLE, np.concatenate([np.full(len(d.id), value(d), dtype) for d in kept])

    return xr.Dataset(
        {
            "dn": _joined([dn for dn, _ in gathered]),
            "usable": _joined([usable for _, usable in gathered]),
            "label": (SAMPLE, np.concatenate([d.label for d in kept])),
            "split": column(lambda d: d.split, np.uint8),
            "cluster": (SAMPLE, np.concatenate([d.cluster for d in kept])),
            "source": column(lambda _: source, np.uint8),
            "year": column(lambda d: d.year, np.int64),
            "row": (SAMPLE, rows),
            "column": (SAMPLE, columns),
            "y_position": (SAMPLE, cube[Y].values[rows]),
            "x_position": (SAMPLE, cube[X].values[columns]),
        },
        attrs={
            "legend": legend.to_dict(),
            "gaps": gaps.method,
            "min_valid": gaps.min_valid,
            "days": {str(y): days_of(cube, y).tolist() for y in cube[YEAR].values.tolist()},
        },
    ).drop_vars("spatial_ref", errors="ignore")


@step("pooled-samples", kind="samples")
def pooled(*samples: xr.Dataset, tiles: Sequence[str]) -> xr.Dataset:
    """Join the samples of several tiles into one set.

    Every tile was observed on its own days, so gaps are filled before the series are joined; ``days`` are means.

    Returns
    -------
    Samples like those of :func:`collect`, with ``tile`` (sample,) uint16, the position of the tile in the attribute
    ``tiles``.

    Raises
    ------
    InputError
        If the tiles differ in bands, acquisitions per year or legend, since one model cannot learn from both.
    """
    first, name = samples[0], tiles[0]
    for other, own in zip(samples[1:], tiles[1:], strict=True):
        for what, a, b in (
            ("bands", first.band.values.tolist(), other.band.values.tolist()),
            ("acquisitions per year", first.sizes["acquisition"], other.sizes["acquisition"]),
            ("the legend", first.attrs["legend"], other.attrs["legend"]),
        ):
            if a != b:
                raise InputError(
                    f"tiles {name} and {own} differ in {what}: {a} and {b}; make both equal, or map them separately"
                )
    parts = [
        _filled_set(s).assign(tile=(SAMPLE, np.full(s.sizes[SAMPLE], i, np.uint16))) for i, s in enumerate(samples)
    ]
    joined = xr.concat(parts, SAMPLE, coords="minimal", compat="override", combine_attrs="drop")
    years = sorted({year for s in samples for year in s.attrs["days"]})
    days = {y: np.mean([s.attrs["days"][y] for s in samples if y in s.attrs["days"]], axis=0).tolist() for y in years}
    notes = [f"{tile}: {note}" for tile, s in zip(tiles, samples, strict=True) for note in s.attrs["notes"]]
    common = {key: first.attrs[key] for key in ("legend", "gaps", "min_valid")}
    return joined.assign_attrs(common | {"days": days, "notes": notes, "tiles": list(tiles)})


def without_witnesses(samples: xr.Dataset) -> xr.Dataset:
    """Return the samples alone, as training takes them."""
    return samples.drop_dims([WITNESS, WITNESS_YEAR], errors="ignore")


def _filled_set(samples: xr.Dataset) -> xr.Dataset:
    """Return the samples, without the witnesses of their tile, with all gaps in their series filled."""
    samples = without_witnesses(samples)
    dn, usable, method = samples.dn.values.copy(), samples.usable.values, samples.attrs["gaps"]
    for year, days in samples.attrs["days"].items():
        at = np.flatnonzero(samples.year.values == int(year))
        dn[at] = filled(dn[at], usable[at], np.asarray(days), method)
    return samples.assign(dn=(samples.dn.dims, dn), usable=(samples.usable.dims, np.ones_like(usable)))


def _joined(parts: Sequence[xr.DataArray]) -> xr.DataArray:
    return xr.concat(parts, SAMPLE, coords="minimal", compat="override")


def filled(dn: Array, usable: Array, days: Array, method: GapMethod) -> npt.NDArray[np.uint16]:
    """Gap-free series (n, T, B) uint16 of samples (n, T, B) with usable dates (n, T)."""
    return fill(dn.transpose(1, 2, 0), usable.T, days, method).transpose(2, 0, 1)


def priors_of(counts: Array) -> npt.NDArray[np.float64]:
    """Class shares (256,) of the old map, from its pixel counts."""
    shares: npt.NDArray[np.float64] = counts / max(1, counts.sum())
    return shares


def shortfalls(found: Mapping[int, Pool], legend: Legend, present: Sequence[int], least: int, where: str) -> list[str]:
    """List the classes of the old map that have fewer than `least` pixels in the pool of a year, as notes."""
    notes = []
    for year, own in found.items():
        for code in present:
            n = int(own.counts[code])
            if n < least:
                much = f"only {n} pixels" if n else "no pixel"
                notes.append(f"{year}: class {legend.names[code]} has {much} {where}")
    return notes
