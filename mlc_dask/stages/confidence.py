"""Whether the score of the multi-year model means what it says, on a sample of blocks (method section 9)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd
import xarray as xr

from mlc_dask import lazy
from mlc_dask.data.legend import Legend
from mlc_dask.data.schema import BAND, SAMPLE, YEAR, X, Y, check_cube, days_of
from mlc_dask.data.sensors import SENTINEL2, Sensor
from mlc_dask.data.steps import step
from mlc_dask.kernels.applicability import Applicability, applicability
from mlc_dask.kernels.clusters import evenly
from mlc_dask.kernels.comparison import OLD_MAP, REFERENCE
from mlc_dask.kernels.gaps import count_valid, fill
from mlc_dask.kernels.sampling.priority import priority
from mlc_dask.stages import drawing as sampling
from mlc_dask.stages.continuity import anchor_year
from mlc_dask.stages.drawing import Split
from mlc_dask.stages.features import Series
from mlc_dask.stages.reliability import (
    CALIBRATION,
    RELIABILITY,
    Seen,
    calibrated,
    outside_rows,
    reliability_rows,
    table_of,
)

if TYPE_CHECKING:
    from mlc_dask.classifiers import Model
    from mlc_dask.stages.evaluation import Reference

Array = npt.NDArray[Any]
_Reading = Callable[[Array], Series]

STEP: Final = 8
"""Rows and columns from one judged pixel of a block to the next: some 220 of the 13,924 pixels of a block."""

_KNOWN: Final = 4_000
"""Training samples at most that a pixel is compared with."""

_FOLD: Final = 64
"""Side in pixels of the squares in which training samples know each other too well."""


class _Pixels(NamedTuple):
    """Judged pixels: global ids and numbers of their blocks, (n,) int64 each."""

    id: Array
    block: Array


@step("confidence", kind="comparisons", version=2, shown=True)
def judge_confidence(
    cube: xr.Dataset,
    blocks: pd.DataFrame,
    samples: xr.Dataset,
    model: Model,
    product: xr.DataArray,
    reference: Reference,
    *,
    legend: Legend,
    sensor: Sensor = SENTINEL2,
    seed: int = 0,
) -> dict[str, pd.DataFrame]:
    """Compare the scores of a model with how often it is right, before and after a temperature.

    Every 8th pixel of every 8th row of the blocks is classified again, with all probabilities; pixels that the model
    was trained on are left out. A temperature and sets of classes are fitted on one half of the blocks and judged on
    the other. The truth is the reference; without one it is the old map in its own year, and then scores are calibrated
    to the old map and not to the ground.

    Parameters
    ----------
    cube
        The cube in small blocks: only those that a block of the sample touches are read.
    blocks
        Sample of :func:`mlc_dask.stages.block_sample.draw_blocks`.
    samples
        Multi-year training set: its training samples span the area of applicability, by the spectral indices of all
        dates, with squares of 64 pixels as folds.
    model
        Multi-year model.
    product
        Old map.
    reference
        Independent reference.
    legend
        Names of the classes.

    Returns
    -------
    Two tables. ``reliability``: pixels by the ``score`` of their class, raw and ``tempered``, in 15 ``equal`` bins and
    in 15 of about the same ``mass``; the share that is ``right`` with its 95 % interval. ``calibration``: in long form,
    all measures before and after, the ``temperature``, the coverage and the size of sets at 90 %, by year, class and
    block, and the share of pixels ``outside`` the area of applicability by year.
    """
    check_cube(cube)
    years = [int(y) for y in cube[YEAR].values]
    pixels = _lattice(cube, blocks, samples, seed)
    reading = partial(Series, gaps=model.context.gaps, roles=sensor.positions(cube[BAND].values.tolist()))
    area = _area(samples, reading)
    looks = {
        y: lazy.call(
            partial(_look, model, area, reading(days_of(cube, y))),
            *sampling.series(cube, y, pixels.id),
            name=f"confidence-{y}",
        )
        for y in years
    }
    against, truth = _truth(reference, product, cube, legend, pixels)
    looked, labels = lazy.compute([looks, truth], resource=model.settings.resource)
    seen = _joined(looked, labels, pixels, blocks, model, seed)
    scores, rows = calibrated(seen, legend.names)
    rows += outside_rows(seen, area.indices, area.threshold) if area is not None else []
    return {
        "reliability": table_of(reliability_rows(scores), RELIABILITY, against),
        "calibration": table_of(rows, CALIBRATION, against),
    }


def _lattice(cube: xr.Dataset, blocks: pd.DataFrame, samples: xr.Dataset, seed: int) -> _Pixels:
    """Every `STEP`-th pixel of the blocks in either direction, from a random start, without training samples."""
    height, width, side = cube.sizes[Y], cube.sizes[X], int(blocks["side"].iloc[0])
    start = int(priority(seed, "confidence", np.zeros(1, np.uint64))[0] % np.uint64(STEP**2))
    down, across = (np.arange(first, side, STEP) for first in divmod(start, STEP))
    rows, columns = (blocks[name].to_numpy()[:, None, None] for name in ("row", "column"))
    rows, columns, numbers = np.broadcast_arrays(
        rows + down[:, None], columns + across, blocks["block"].to_numpy()[:, None, None]
    )
    trained = samples.split.values == Split.TRAINING
    known = samples.row.values[trained] * width + samples.column.values[trained]
    ids = rows * width + columns
    kept = (rows < height) & (columns < width) & ~np.isin(ids, known)
    return _Pixels(ids[kept], numbers[kept])


def _area(samples: xr.Dataset, reading: _Reading) -> Applicability | None:
    """Area of applicability of the training samples of all years; None where they lie in one square."""
    trained = np.flatnonzero(samples.split.values == Split.TRAINING)
    chosen = samples.isel({SAMPLE: evenly(trained, _KNOWN)})
    parts, folds = [], []
    for year in np.unique(chosen.year.values).tolist():
        own = chosen.isel({SAMPLE: np.flatnonzero(chosen.year.values == year)})
        series = reading(np.asarray(samples.attrs["days"][str(year)]))
        parts.append(series.features(own.dn.values.transpose(1, 2, 0), own.usable.values.T))
        folds.append(own.row.values // _FOLD * 1_000_000 + own.column.values // _FOLD)
    squares = np.concatenate(folds)
    return applicability(np.concatenate(parts), squares) if len(np.unique(squares)) > 1 else None


def _look(
    model: Model, area: Applicability | None, reading: Series, dn: xr.DataArray, usable: xr.DataArray
) -> tuple[Array, Array, Array]:
    """Which pixels have enough dates (n,) bool and, of these m, probabilities (K, m) and whether they are outside."""
    series, dates = dn.values.transpose(1, 2, 0), usable.values.T
    able = count_valid(dates) >= model.context.min_valid
    at = np.flatnonzero(able)
    if not at.size:
        return able, np.zeros((len(model.classes), 0), np.float32), np.zeros(0, np.bool_)
    _, _, probabilities = model.predict(fill(series, dates, reading.days, reading.gaps, at), probabilities=True)
    if area is None:
        return able, probabilities, np.zeros(at.size, np.bool_)
    return able, probabilities, ~area.inside(reading.features(series[:, :, at], dates[:, at]))


def _truth(
    reference: Reference, product: xr.DataArray, cube: xr.Dataset, legend: Legend, pixels: _Pixels
) -> tuple[str, dict[int, xr.DataArray]]:
    """Name what the scores are compared with, and give its lazy labels of the pixels by year."""
    rows, columns = np.divmod(pixels.id, cube.sizes[X])
    truth = reference.on(cube, legend)
    if truth is None:
        anchor = anchor_year(product.attrs.get("year"), [int(y) for y in cube[YEAR].values])
        plain = product.drop_vars("quota", errors="ignore")
        return OLD_MAP, {anchor: lazy.gather_pixels(plain, rows, columns, dim=SAMPLE)}
    planes = {int(y): truth.sel({YEAR: y}, drop=True) for y in truth[YEAR].values}
    return REFERENCE, {y: lazy.gather_pixels(plane, rows, columns, dim=SAMPLE) for y, plane in planes.items()}


def _joined(
    looked: Mapping[int, tuple[Array, Array, Array]],
    labels: Mapping[int, xr.DataArray],
    pixels: _Pixels,
    blocks: pd.DataFrame,
    model: Model,
    seed: int,
) -> Seen:
    """Join the answers of all years with the true classes, where these are known."""
    codes = np.union1d(model.classes, [c for own in labels.values() for c in np.unique(own.values) if c])
    codes = codes.astype(np.uint8)
    parts = [_of_year(y, looked[y], labels.get(y), pixels.block, codes, model) for y in looked]
    return Seen(
        **{name: np.concatenate([part[name] for part in parts], axis=-1) for name in parts[0]},
        codes=codes,
        answerable=np.isin(codes, model.classes),
        blocks=np.sort(blocks["block"].to_numpy()),
        of=int(blocks["of"].iloc[0]),
        seed=seed,
    )


def _of_year(
    year: int, looked: tuple[Array, Array, Array], labels: xr.DataArray | None, block: Array, codes: Array, model: Model
) -> dict[str, Array]:
    """Fields of :class:`Seen` for the pixels of one year that have enough dates."""
    able, probabilities, outside = looked
    every = np.zeros((len(codes), len(outside)))
    every[np.searchsorted(codes, model.classes)] = probabilities
    own = np.zeros(len(outside), np.uint8) if labels is None else labels.values[able]
    truth = np.where(own > 0, np.searchsorted(codes, own), -1)
    years = np.full(len(outside), year)
    return {"probabilities": every, "truth": truth, "year": years, "block": block[able], "outside": outside}
