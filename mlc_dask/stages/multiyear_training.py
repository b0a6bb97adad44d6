"""Unchanged areas and the multi-year training set (paper section 2.3; method section 6)."""

from __future__ import annotations

import operator
from collections.abc import Mapping
from functools import partial, reduce
from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr

from mlc_dask import lazy
from mlc_dask.data.errors import InputError
from mlc_dask.data.grids import on_grid_of
from mlc_dask.data.legend import Legend
from mlc_dask.data.schema import BAND, SAMPLE, YEAR, check_cube, check_map, days_of, legend_of
from mlc_dask.data.sensors import SENTINEL2, Sensor
from mlc_dask.data.steps import step
from mlc_dask.kernels.sampling.splits import spatial_split
from mlc_dask.stages import drawing as sampling
from mlc_dask.stages.continuity import doubts, judged, still
from mlc_dask.stages.drawing import Keep, Pool, SampleSource, Split
from mlc_dask.stages.features import Series
from mlc_dask.stages.judge import judge_of
from mlc_dask.stages.settings import Gaps, MultiYearTraining, SplitRule

Array = npt.NDArray[Any]


@step("unchanged", kind="maps", version=2)
def unchanged_areas(
    maps: xr.DataArray | xr.Dataset, product: xr.DataArray, annual: xr.Dataset | None = None
) -> xr.DataArray:
    """Mark the pixels of the old map that did not change, by the preliminary maps.

    Parameters
    ----------
    maps
        Preliminary maps (year, y, x) uint8, or a Dataset with the maps as ``label``.
    product
        Old map (y, x) uint8.
    annual
        Annual training sets. A year in which a class may have changed as a whole has no vote on that class, since its
        own map may call the change by the name of the class.

    Returns
    -------
    (y, x) bool, lazy; False where the old map or any year has no data.
    """
    labels = check_map(maps["label"] if isinstance(maps, xr.Dataset) else maps)
    product = on_grid_of(labels, check_map(product), "maps and product")
    old, doubted = product.drop_vars("quota", errors="ignore"), doubts(annual)
    votes = [
        (labels.sel({YEAR: y}, drop=True) == old) | old.isin(list(doubted.get(y, ())))
        for y in labels[YEAR].values.tolist()
    ]
    unchanged: xr.DataArray = reduce(operator.and_, votes) & (labels != 0).all(YEAR) & (old != 0)
    return unchanged.rename("unchanged")


@step("multiyear-training", kind="samples", version=5)
def sample_unchanged(
    cube: xr.Dataset,
    product: xr.DataArray,
    unchanged: xr.DataArray,
    annual: xr.Dataset | None = None,
    *,
    train: int = MultiYearTraining.train,
    validation: int = MultiYearTraining.validation,
    seed: int = 0,
    min_per_class: int = MultiYearTraining.min_per_class,
    split: SplitRule = MultiYearTraining.split,
    block: int = MultiYearTraining.block,
    gaps: Gaps = Gaps(),  # noqa: B008 (frozen)
    sensor: Sensor = SENTINEL2,
) -> xr.Dataset:
    """Draw the multi-year training set: per year, `train` and `validation` pixels of the unchanged area.

    Parameters
    ----------
    unchanged
        (y, x) bool from :func:`unchanged_areas`.
    annual
        Annual training sets. Of a class that may have changed as a whole in some year, only pixels that the judge is
        sure of (method section 5) are drawn.
    split
        ``blocks``: training and validation pixels never share a square with a side of `block` pixels, so neighbouring
        pixels do not improve the validation loss. ``random`` is the rule of the paper.
    train, validation
        Samples per year, stratified by the priors of the old map, with at least `min_per_class` per class (a third
        of it for validation).

    Returns
    -------
    Samples of all years (see :func:`mlc_dask.stages.drawing.collect`), attribute ``notes``.

    Raises
    ------
    InputError
        If the unchanged area has fewer than two classes.
    """
    product = on_grid_of(check_cube(cube), check_map(product), "cube and product")
    unchanged = on_grid_of(cube, unchanged, "cube and unchanged area")
    legend, counts = legend_of(product), sampling.class_counts(product, "count-product")
    labels = _labels(cube, product.where(unchanged, np.uint8(0)), annual, gaps, sensor)
    share, edge = validation / (train + validation), block if split == "blocks" else 1
    splits = {part: partial(_belongs, part=part, share=share, seed=seed, block=edge) for part in Split}
    pools = _pools(labels, product.quota, splits, limit=max(train, validation, min_per_class), seed=seed)
    wanted = {Split.TRAINING: (train, min_per_class), Split.VALIDATION: (validation, min_per_class // 3)}
    priors, present = sampling.priors_of(counts), np.flatnonzero(counts).tolist()
    drawn = [
        sampling.choose(pools[part][y], size=n, priors=priors, minimum=least, year=y, split=part)
        for part, (n, least) in wanted.items()
        for y in labels
    ]
    if len(np.unique(np.concatenate([d.label for d in drawn]))) < 2:
        raise InputError(
            "the unchanged area has fewer than two classes, too few to train a model; check that product and cube "
            "cover the same area, or enlarge the area"
        )
    samples = sampling.collect(cube, drawn, source=SampleSource.UNCHANGED, gaps=gaps, legend=legend)
    notes = [note for part, (_, floor) in wanted.items() for note in _notes(pools[part], legend, present, floor, part)]
    samples.attrs |= {"notes": notes, "product": product.attrs.get("source", "")}
    return samples


def check_split(
    shape: tuple[int, int], *, train: int, validation: int, split: SplitRule, block: int, seed: int
) -> None:
    """Refuse a division of an area (height, width) into squares of which none is for training.

    Raises
    ------
    InputError
        If all squares are for validation.
    """
    if split != "blocks" or not validation:
        return
    rows, columns = np.meshgrid(*(np.arange(0, size, block) for size in shape), indexing="ij")
    judged = spatial_split(rows, columns, block, validation / (train + validation), seed)
    if judged.all():
        raise InputError(
            f"multiyear_training.block = {block} leaves no square for training in {shape[0]} × {shape[1]} "
            f"pixels with train = {train} and validation = {validation}; lower block, or validation"
        )


def _labels(
    cube: xr.Dataset,
    stable: xr.DataArray,
    annual: xr.Dataset | None,
    gaps: Gaps,
    sensor: Sensor,
) -> dict[int, xr.DataArray]:
    """Labels of every year that can be drawn: those of enough usable dates, and of doubted classes what is left."""
    years, roles = [int(y) for y in cube[YEAR].values], sensor.positions(cube[BAND].values.tolist())
    labels = {y: sampling.eligible(stable, cube, y, gaps) for y in years}
    known = judged(annual)
    judge = (
        lazy.compute(lazy.call(judge_of, annual.drop_dims(SAMPLE), doubts(annual), name="judge"))
        if annual is not None and known
        else None
    )
    for y, own in known.items():
        left = still(cube, labels[y], y, own, set(own), Series(days_of(cube, y), gaps.method, roles), judge)
        labels[y] = labels[y].where(~labels[y].isin(list(own)), left.label)
    return labels


def _notes(pools: dict[int, Pool], legend: Legend, present: list[int], floor: int, part: Split) -> list[str]:
    where = f"in the unchanged area for {part.name.lower()}"
    return sampling.shortfalls(pools, legend, present, max(1, floor // 10), where)


def _pools(
    labels: Mapping[int, xr.DataArray], quota: xr.DataArray, splits: Mapping[Split, Keep], *, limit: int, seed: int
) -> dict[Split, dict[int, Pool]]:
    """Candidates of every split and year, in one pass over the blocks."""
    pools: dict[Split, dict[int, Pool]] = lazy.compute(
        {
            part: {
                y: sampling.pool(
                    own, quota, seed=seed, stream=f"unchanged-{y}", limit=limit, keep=keep,
                    name=f"sample-{part.name.lower()}-{y}",
                )
                for y, own in labels.items()
            }
            for part, keep in splits.items()
        }
    )  # fmt: skip
    return pools


def _belongs(rows: Array, columns: Array, *, part: Split, share: float, seed: int, block: int) -> Array:
    """Mask of the pixels in the squares of `part`."""
    is_validation: Array = spatial_split(rows, columns, block, share, seed)
    found: Array = is_validation == (part is Split.VALIDATION)
    return found
