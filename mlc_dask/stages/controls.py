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
from mlc_dask.data.layers import BASELINE, MULTI, SERIES, layer_name
from mlc_dask.data.legend import Legend
from mlc_dask.data.schema import YEAR, check_cube
from mlc_dask.data.steps import step
from mlc_dask.kernels import comparison
from mlc_dask.kernels.squares import PLAIN, Counted, Plan, count_square
from mlc_dask.stages.classification import MULTI_YEAR, classify
from mlc_dask.stages.drawing import Split
from mlc_dask.stages.filtering import RULES, smooth
from mlc_dask.stages.planting import donor_cube, planted_rows, planted_table
from mlc_dask.stages.settings import Filter

if TYPE_CHECKING:
    from mlc_dask.classifiers import Model
    from mlc_dask.stages.evaluation import Reference

Array = npt.NDArray[Any]

SMOOTHED: Final = (MULTI, BASELINE)
"""Models whose unfiltered maps the null smoothers are applied to."""

YEARLY: Final = {"yearly_forests": "forest-", "year_left_out": "without-"}
"""Controls of one model a year, and how the names of their models begin."""

COLUMNS: Final = (
    "control", "filtered", "smoother", "metric", "estimate", "low", "high", "difference", "difference_low",
    "difference_high", "interval", "blocks", "of",
)  # fmt: skip
"""Columns of the table of controls."""


@dataclass(frozen=True)
class Judged:
    """A series on the sample: its labels (year, y, x), and what smoothers and planted change need to know.

    `raw` holds the labels before the filter, `probability` all probabilities where the series is smoothed by them, and
    `donors` the labels (year, n) and probabilities (year, class, n) of the planted series.
    """

    labels: xr.DataArray
    raw: xr.DataArray
    probability: xr.DataArray | None
    donors: tuple[Array, Array | None]


@step("controls", kind="comparisons", version=3, shown=True)
def judge_controls(
    cube: xr.Dataset,
    blocks: pd.DataFrame,
    samples: xr.Dataset,
    models: Mapping[str, Model],
    controls: Mapping[str, Model],
    maps: Mapping[str, xr.Dataset],
    product: xr.DataArray,
    reference: Reference,
    *,
    legend: Legend,
    filtering: Filter = Filter(),  # noqa: B008 (frozen)
    seed: int = 0,
) -> dict[str, pd.DataFrame]:
    """Compare the multi-year maps with every control, in pairs, on the blocks of the sample.

    Parameters
    ----------
    cube
        The cube in small blocks: only those that a block of the sample touches are read.
    blocks
        Sample of :func:`mlc_dask.stages.block_sample.draw_blocks`.
    samples
        Multi-year training set, whose classes are the prior of the hidden Markov model, and whose validation samples
        are planted as change.
    models
        ``multi-year`` and, unless the run has no baseline, one model per year.
    controls
        Models of :func:`mlc_dask.stages.control_training.fit_controls`; with none, only the single-year models and
        smoothers of labels are compared.
    maps
        Series that the run has mapped, by step; they are not classified again.
    product
        Old map: a class is planted only where it shows another one.
    reference
        Independent reference, for accuracy and change.
    filtering
        Filter of the run; blocks are classified with its margin, so they are filtered as whole maps are.

    Returns
    -------
    Two tables. ``controls``: one row per ``control``, ``filtered``, ``smoother`` ("none" for most) and ``metric``
    (:data:`~mlc_dask.kernels.comparison.MEASURES`): ``estimate`` with ``low`` and ``high``, the ``difference`` from the
    multi-year maps that are filtered alike with ``difference_low`` and ``difference_high`` (95 %), what the
    ``interval`` is for (:class:`~mlc_dask.kernels.comparison.Compared`), and the ``blocks`` judged ``of`` all.
    ``planted``: of the same series the ``recall`` of planted change, by how long it is ``lasting``, the ``year`` in
    which it begins and its ``pixels``; "all" joins years or sizes.
    """
    check_cube(cube)
    side, margin = int(blocks["side"].iloc[0]), _margin(filtering)
    cut = partial(lazy.windows, rows=blocks["row"] - margin, columns=blocks["column"] - margin, side=side + 2 * margin)
    years = [int(y) for y in cube[YEAR].values]
    donors, donor_codes = donor_cube(samples, cube)
    chosen = _models(models, controls, years)
    resource = models[MULTI_YEAR].settings.resource
    shown = lazy.compute(
        {name: classify(donors, m, probabilities=bool(controls) and name in SMOOTHED) for name, m in chosen.items()},
        resource=resource,
    )
    series = dict(_series(_cut_cube(cube, cut), cut, maps, chosen, shown, filtering))
    truth = reference.on(maps["multi-year"], legend)
    at = [] if truth is None else [i for i, y in enumerate(years) if y in truth[YEAR].values]
    common = {"old": cut(product.drop_vars("quota", errors="ignore"))}
    if truth is not None and at:
        common["truth"] = cut(truth.sel({YEAR: [years[i] for i in at]}))
    prior = np.bincount(samples.label.values[samples.split.values == Split.TRAINING], minlength=256)
    plan = Plan(
        blocks["block"].to_numpy(), margin, RULES.get(filtering.rule), at, bool(at) and at[-1] - at[0] < len(at),
        prior, donor_codes, seed,
    )  # fmt: skip
    tallies = {who: _tally(who, own, common, plan) for who, own in series.items()}
    return _tables(lazy.compute(tallies, resource=resource), years, int(blocks["of"].iloc[0]), seed)


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
    for name, prefix in YEARLY.items() if controls else ():
        found[name] = {str(y): controls[f"{prefix}{y}"] for y in years}
    alone = {name: m for name, m in controls.items() if not name.startswith(tuple(YEARLY.values()))}
    return found | {name.replace("-", "_"): m for name, m in alone.items()}


def _series(
    squares: xr.Dataset,
    cut: Any,
    maps: Mapping[str, xr.Dataset],
    models: Mapping[str, Model | dict[str, Model]],
    shown: Mapping[str, xr.Dataset],
    filtering: Filter,
) -> Iterator[tuple[tuple[str, bool], Judged]]:
    """Every series, unfiltered and filtered: cut from the run's maps where it has them, otherwise classified."""
    mapped = {s.name: cut(maps[s.step].label) for s in SERIES if s.step in maps}
    for name, model in models.items():
        every = shown[name].get("probability")
        needed = every is not None or name not in mapped
        found = classify(squares, model, probabilities=every is not None) if needed else None
        labels = mapped[name] if found is None or name in mapped else found.label
        filtered = mapped.get(layer_name(name, True))
        if filtered is None:
            filtered = smooth(labels, size=filtering.size, rule=filtering.rule)
        probability = None if found is None or every is None else found.probability
        donors = shown[name].label.values[:, 0], None if every is None else every.values[:, :, 0]
        yield (name, False), Judged(labels, labels, probability, donors)
        yield (name, True), Judged(filtered, labels, None, donors)


def _tally(who: tuple[str, bool], own: Judged, common: Mapping[str, xr.DataArray], plan: Plan) -> Any:
    """Lazy counts of one series and of its smoothed versions, by the number of the square."""
    rasters = {"labels": own.labels, "raw": own.raw, **common}
    codes = np.zeros(0, np.uint8)
    if own.probability is not None:
        rasters["probability"], codes = own.probability, own.probability["class"].values
    counted = Counted(who[1], not who[1] and who[0] in SMOOTHED, *own.donors, codes)
    chunk = partial(_count, plan, counted, tuple(rasters))
    return lazy.reduce_blocks(chunk, operator.or_, *rasters.values(), name=f"control-{layer_name(*who)}")


def _count(plan: Plan, own: Counted, names: tuple[str, ...], *rasters: Array, block: lazy.Block) -> dict[int, Any]:
    number = block.row // rasters[0].shape[-2]
    return {number: count_square(plan, own, dict(zip(names, rasters, strict=True)), number)}


def _tables(
    counts: Mapping[tuple[str, bool], Mapping[int, Mapping[str, tuple[Array, Array]]]],
    years: list[int],
    of: int,
    seed: int,
) -> dict[str, pd.DataFrame]:
    """Estimates of all series, those of the multi-year maps first, and what they find of planted change."""
    rows, planted = [], []
    for (control, filtered), squares in counts.items():
        order = sorted(squares)
        for smoother in squares[order[0]]:
            own, hits = (np.stack([squares[i][smoother][part] for i in order]) for part in (0, 1))
            reference, other = (np.stack([counts[MULTI, filtered][i][PLAIN][part] for i in order]) for part in (0, 1))
            who = {"control": control, "filtered": filtered, "smoother": smoother}
            planted += planted_rows(who, hits, other, years, of, seed)
            for i, metric in enumerate(comparison.MEASURES[: own.shape[1]]):
                if own[:, i, 1].any():
                    found = comparison.compare(own[:, i], reference[:, i], of, seed=seed)
                    rows.append({**who, "metric": metric, **vars(found), "blocks": len(order), "of": of})
    return {"controls": pd.DataFrame(rows, columns=list(COLUMNS)), "planted": planted_table(planted)}
