"""Controls of a run on a probability sample of blocks: better, or only smoother? (method section 9)."""

from __future__ import annotations

import operator
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt
import pandas as pd
import xarray as xr

from mlc_dask import lazy
from mlc_dask.data.layers import BASELINE, SERIES, layer_name
from mlc_dask.data.legend import Legend
from mlc_dask.data.schema import YEAR, check_cube
from mlc_dask.data.steps import step
from mlc_dask.kernels import comparison, smoothers
from mlc_dask.stages.classification import MULTI_YEAR, classify
from mlc_dask.stages.drawing import Split
from mlc_dask.stages.filtering import smooth
from mlc_dask.stages.settings import Filter

if TYPE_CHECKING:
    from mlc_dask.classifiers import Model
    from mlc_dask.stages.evaluation import Reference

Array = npt.NDArray[Any]

MULTI: Final = "multi_year"

SMOOTHED: Final = ((MULTI, False), (BASELINE, False))
"""Series, by name and whether they are filtered, that the null smoothers are applied to."""

PLAIN: Final = "none"
"""Smoother of a series that is not smoothed."""

COLUMNS: Final = (
    "control", "filtered", "smoother", "metric", "estimate", "low", "high", "difference", "difference_low",
    "difference_high", "interval", "blocks", "of",
)  # fmt: skip
"""Columns of the table of controls."""


@dataclass(frozen=True)
class Judged:
    """A series on the sample: its labels (year, y, x), and its probabilities where it is smoothed by them."""

    labels: xr.DataArray
    probability: xr.DataArray | None = None


@step("controls", kind="table", shown=True)
def judge_controls(
    cube: xr.Dataset,
    blocks: pd.DataFrame,
    samples: xr.Dataset,
    models: Mapping[str, Model],
    controls: Mapping[str, Model],
    maps: Mapping[str, xr.Dataset],
    reference: Reference,
    *,
    legend: Legend,
    filtering: Filter = Filter(),  # noqa: B008 (frozen)
    seed: int = 0,
) -> pd.DataFrame:
    """Compare the multi-year maps with every control, in pairs, on the blocks of the sample.

    Parameters
    ----------
    cube
        The cube in small blocks: only those that a block of the sample touches are read.
    blocks
        Sample of :func:`mlc_dask.stages.block_sample.draw_blocks`.
    samples
        Multi-year training set, whose classes are the prior of the hidden Markov model.
    models
        ``multi-year`` and, unless the run has no baseline, one model per year.
    controls
        Models of :func:`mlc_dask.stages.control_training.fit_controls`; with none, only the single-year models and
        smoothers of labels are compared.
    maps
        Series that the run has mapped, by step; they are not classified again.
    reference
        Independent reference, for accuracy and change.
    filtering
        Filter of the run; blocks are classified with its margin, so they are filtered as whole maps are.

    Returns
    -------
    One row per ``control``, ``filtered``, ``smoother`` ("none" for most) and ``metric``
    (:data:`~mlc_dask.kernels.comparison.MEASURES`): ``estimate`` with ``low`` and ``high``, the ``difference`` from the
    multi-year maps that are filtered alike with ``difference_low`` and ``difference_high`` (95 %), what the
    ``interval`` is for (:class:`~mlc_dask.kernels.comparison.Compared`), and the ``blocks`` judged ``of`` all.
    """
    check_cube(cube)
    side, margin = int(blocks["side"].iloc[0]), _margin(filtering)
    cut = partial(lazy.windows, rows=blocks["row"] - margin, columns=blocks["column"] - margin, side=side + 2 * margin)
    years = [int(y) for y in cube[YEAR].values]
    series = dict(_series(_cut_cube(cube, cut), cut, maps, _models(models, controls, years), filtering, bool(controls)))
    truth = reference.on(maps["multi-year"], legend)
    against = {} if truth is None else _with_years(cut(truth), years)
    prior = np.bincount(samples.label.values[samples.split.values == Split.TRAINING], minlength=256)
    tallies = {who: _tally(who, own, against, margin, prior) for who, own in series.items()}
    counts = lazy.compute(tallies, resource=models[MULTI_YEAR].settings.resource)
    return _table(counts, int(blocks["of"].iloc[0]), seed)


def _margin(filtering: Filter) -> int:
    return 0 if filtering.rule == "none" else filtering.size // 2


def _cut_cube(cube: xr.Dataset, cut: Any) -> xr.Dataset:
    """Make the squares of the sample a cube of its own, each square a block."""
    return xr.Dataset({name: cut(cube[name]) for name in ("reflectance", "usable")}, attrs=cube.attrs)


def _models(
    models: Mapping[str, Model], controls: Mapping[str, Model], years: list[int]
) -> dict[str, Model | dict[str, Model]]:
    """Models that make a series each, by the name of the control."""
    single = {str(y): models[str(y)] for y in years if str(y) in models}
    found: dict[str, Model | dict[str, Model]] = {MULTI: models[MULTI_YEAR]}
    if single:
        found[BASELINE] = single
    if controls and single:
        found["one_year"] = single[str(years[len(years) // 2])]
    if controls:
        found["yearly_forests"] = {str(y): controls[f"forest-{y}"] for y in years}
    return found | {name.replace("-", "_"): m for name, m in controls.items() if not name.startswith("forest-")}


def _series(
    squares: xr.Dataset,
    cut: Any,
    maps: Mapping[str, xr.Dataset],
    models: Mapping[str, Model | dict[str, Model]],
    filtering: Filter,
    full: bool,
) -> Iterator[tuple[tuple[str, bool], Judged]]:
    """Every series, unfiltered and filtered: cut from the run's maps where it has them, otherwise classified."""
    mapped = {s.name: cut(maps[s.step].label) for s in SERIES if s.step in maps}
    for name, model in models.items():
        smoothed = full and name in (MULTI, BASELINE)
        found = classify(squares, model, probabilities=smoothed) if smoothed or name not in mapped else None
        labels = mapped[name] if found is None or name in mapped else found.label
        filtered = mapped.get(layer_name(name, True))
        if filtered is None:
            filtered = smooth(labels, size=filtering.size, rule=filtering.rule)
        yield (name, False), Judged(labels, found.probability if found is not None and smoothed else None)
        yield (name, True), Judged(filtered)


def _with_years(truth: xr.DataArray, years: list[int]) -> dict[str, Any]:
    """Return the reference of the years that it shares with the maps, their positions, and whether they succeed."""
    at = [i for i, y in enumerate(years) if y in truth[YEAR].values]
    if not at:
        return {}
    successive = at == list(range(at[0], at[-1] + 1))
    return {"truth": truth.sel({YEAR: [years[i] for i in at]}), "at": at, "successive": successive}


def _tally(who: tuple[str, bool], own: Judged, against: Mapping[str, Any], margin: int, prior: Array) -> Any:
    """Lazy counts of one series and of its smoothed versions, by square and smoother."""
    rasters = {"labels": own.labels, "truth": against.get("truth"), "probability": own.probability}
    given = {key: raster for key, raster in rasters.items() if raster is not None}
    codes = own.probability["class"].values if own.probability is not None else np.zeros(0, np.uint8)
    chunk = partial(
        _count,
        tuple(given),
        smoothed=who in SMOOTHED,
        margin=margin,
        at=against.get("at"),
        successive=against.get("successive", False),
        codes=codes,
        prior=prior[codes] / max(1, prior[codes].sum()),
    )
    return lazy.reduce_blocks(chunk, operator.or_, *given.values(), name=f"control-{layer_name(*who)}")


def _count(
    names: tuple[str, ...],
    *rasters: Array,
    smoothed: bool,
    margin: int,
    at: list[int] | None,
    successive: bool,
    codes: Array,
    prior: Array,
    block: lazy.Block,
) -> dict[int, dict[str, Array]]:
    """Count (measures, 2) pixels of a square by smoother, under the row of the square among all squares."""
    inner = slice(margin, -margin or None)
    given = {name: raster[..., inner, inner] for name, raster in zip(names, rasters, strict=True)}
    found = {}
    labels, versions = given["labels"], {PLAIN: given["labels"]}
    if smoothed:
        versions |= smoothers.null_smoothers(labels, given.get("probability"), prior, codes)
    for smoother, own in versions.items():
        counts = [comparison.consistency_counts(own)]
        if at is not None:
            counts.append(comparison.truth_counts(own[at], given["truth"], successive=successive))
        found[smoother] = np.concatenate(counts)
    return {block.row: found}


def _table(counts: Mapping[tuple[str, bool], Mapping[int, Mapping[str, Array]]], of: int, seed: int) -> pd.DataFrame:
    """Estimates of all series, those of the multi-year maps first."""
    rows = []
    for (control, filtered), squares in counts.items():
        order = sorted(squares)
        reference = np.stack([counts[MULTI, filtered][row][PLAIN] for row in order])
        for smoother in squares[order[0]]:
            own = np.stack([squares[row][smoother] for row in order])
            who = {"control": control, "filtered": filtered, "smoother": smoother}
            for i, metric in enumerate(comparison.MEASURES[: own.shape[1]]):
                if own[:, i, 1].any():
                    found = comparison.compare(own[:, i], reference[:, i], of, seed=seed)
                    rows.append({**who, "metric": metric, **vars(found), "blocks": len(order), "of": of})
    return pd.DataFrame(rows, columns=list(COLUMNS))
