"""Annual training sets: labels of the old map, cleaned by clustering (paper section 2.2; method sections 4 and 5)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr

from mlc_dask import lazy
from mlc_dask.data.errors import InputError
from mlc_dask.data.grids import on_grid_of, pixel_of
from mlc_dask.data.legend import Legend
from mlc_dask.data.schema import ACQUISITION, BAND, YEAR, X, Y, check_cube, check_map, days_of, legend_of
from mlc_dask.data.sensors import SENTINEL2, Sensor
from mlc_dask.data.steps import step
from mlc_dask.kernels.borders import interior
from mlc_dask.kernels.clusters import ClassClusters, fit_clusters
from mlc_dask.kernels.continuity import Continuity
from mlc_dask.stages import drawing as sampling
from mlc_dask.stages.continuity import (
    anchor_year,
    anchored,
    compare_years,
    doubted,
    in_words,
    still,
    with_witnesses,
    without_witnesses,
)
from mlc_dask.stages.drawing import Pool, SampleSource, Split
from mlc_dask.stages.features import Series
from mlc_dask.stages.judge import Judge, judge_of, kept_shares, kept_witnesses
from mlc_dask.stages.settings import AnnualTraining, Clustering, Gaps
from mlc_dask.stages.witnesses import look, panel_of, series_in, with_good, witnesses

Array = npt.NDArray[Any]
Clusters = dict[int, ClassClusters]


@step("annual-training", kind="samples", version=5)
def select_reliable_samples(
    cube: xr.Dataset,
    product: xr.DataArray,
    *,
    size: int = AnnualTraining.size,
    seed: int = 0,
    min_per_class: int = AnnualTraining.min_per_class,
    gaps: Gaps = Gaps(),  # noqa: B008 (frozen)
    clustering: Clustering = Clustering(),  # noqa: B008 (frozen)
    sensor: Sensor = SENTINEL2,
) -> xr.Dataset:
    """Draw one training set per year from the most reliable pixels of the old map.

    The old map is eroded by one of its own cells, and the spectral indices of every class are clustered. Pixels of the
    dominant cluster are drawn at random with the old map's priors. The result does not depend on chunks or workers.

    Parameters
    ----------
    cube
        See :func:`mlc_dask.data.schema.check_cube`.
    product
        Old map M from :func:`mlc_dask.open_product`.
    size, min_per_class
        Samples per year, and the least number per class (the paper: 0).

    Returns
    -------
    Samples of all years (see :func:`mlc_dask.stages.drawing.collect`); attributes ``clusters`` (the clusters of
    every class and year, and which of them were kept) and ``notes``.

    Raises
    ------
    InputError
        If the product has fewer than two classes in the area, or a year has no usable pixel of any class.
    """
    product = on_grid_of(check_cube(cube), check_map(product), "cube and product")
    years = [int(y) for y in cube[YEAR].values]
    legend, counts = legend_of(product), sampling.class_counts(product, "count-product")
    present = np.flatnonzero(counts).tolist()
    if len(present) < 2:
        raise InputError("the product has fewer than two classes in this area; choose a larger area or another product")
    inner, notes = _without_borders(product, counts, min_per_class, legend)
    labels = {y: sampling.eligible(inner, cube, y, gaps) for y in years}
    reading = {y: Series(days_of(cube, y), gaps.method, sensor.positions(cube[BAND].values.tolist())) for y in years}
    anchor = anchor_year(product.attrs.get("year"), years)
    candidates = _candidates(labels, product.quota, clustering.pixels, seed)
    _refuse_empty_years(candidates, cube, gaps)
    seen = partial(witnesses, cube, anchor=anchor, gaps=gaps, legend=legend)
    clusters, watched = _cluster(cube, candidates, reading, clustering, seed, anchor, seen)
    found, judge = _compared(clusters, watched, reading) if clustering.anchor != "none" else ({}, None)
    lost = [] if watched.witness_good.values.any() else [without_witnesses(anchor)]
    clusters, notes = anchored(clusters, found), [*notes, *lost, *in_words(found, clusters, legend, anchor)]
    doubts = set().union(*doubted(found).values())
    reliable = {y: still(cube, labels[y], y, clusters[y], doubts, reading[y], judge) for y in years}
    pools = _pools(reliable, product.quota, limit=max(size, min_per_class), seed=seed)
    notes += sampling.shortfalls(pools, legend, present, max(1, min_per_class // 10), "for the annual training set")
    priors = sampling.priors_of(counts)
    drawn = [
        sampling.choose(pools[y], size=size, priors=priors, minimum=min_per_class, year=y, split=Split.TRAINING)
        for y in years
    ]
    samples = sampling.collect(cube, drawn, source=SampleSource.ANNUAL, gaps=gaps, legend=legend)
    samples.attrs |= {"notes": notes, "clusters": _report(clusters, legend), "product": product.attrs.get("source", "")}
    return with_witnesses(samples, watched, found, clusters)


def _pools(reliable: Mapping[int, xr.Dataset], quota: xr.DataArray, *, limit: int, seed: int) -> dict[int, Pool]:
    """Candidates of every year, at most `limit` per class."""
    pools: dict[int, Pool] = lazy.compute(
        {
            y: sampling.pool(
                own.label, quota, own.cluster, seed=seed, stream=f"annual-{y}", limit=limit, name=f"sample-{y}"
            )
            for y, own in reliable.items()
        }
    )
    return pools


def _without_borders(
    product: xr.DataArray, counts: Array, least: int, legend: Legend
) -> tuple[xr.DataArray, list[str]]:
    """Old map without pixels within one product cell of a border; a class that would vanish keeps its border pixels."""
    pixel = pixel_of(product)
    radius = max(1, round(float(product.attrs.get("cell", pixel)) / pixel))
    inside = lazy.map_neighbourhood(
        partial(interior, radius=radius), product, radius=radius, name="interior", dtype=np.bool_
    )
    eroded = product.where(inside, np.uint8(0))
    left = sampling.class_counts(eroded, "count-interior")
    vanished = [c for c in np.flatnonzero(counts).tolist() if left[c] < max(1, min(least, counts[c]) // 2)]
    notes = [
        f"class {legend.names[c]} keeps its border pixels: {left[c]} of {counts[c]} px lie inside" for c in vanished
    ]
    return product.where(inside | product.isin(vanished), np.uint8(0)), notes


def _candidates(labels: Mapping[int, xr.DataArray], quota: xr.DataArray, limit: int, seed: int) -> dict[int, Pool]:
    """Pixels of every year whose series are clustered, at most `limit` per class."""
    pools: dict[int, Pool] = lazy.compute(
        {
            y: sampling.pool(own, quota, seed=seed, stream=f"clusters-{y}", limit=limit, name=f"cluster-sample-{y}")
            for y, own in labels.items()
        }
    )
    return pools


def _refuse_empty_years(pools: Mapping[int, Pool], cube: xr.Dataset, gaps: Gaps) -> None:
    """Raise InputError for a year without samples, which would have no forest and no map."""
    for year, own in pools.items():
        if not own.counts.any():
            raise InputError(
                f"{year}: no pixel of a class has {gaps.min_valid} usable dates (gaps.min_valid) among the "
                f"{cube.sizes[ACQUISITION]} acquisitions; lower gaps.min_valid, choose clearer acquisitions, e.g. with "
                f"a lower acquisitions.max_cloud, or leave {year} out of acquisitions.years"
            )


def _cluster(
    cube: xr.Dataset,
    pools: Mapping[int, Pool],
    reading: Mapping[int, Series],
    settings: Clustering,
    seed: int,
    anchor: int,
    seen: Callable[..., xr.Dataset],
) -> tuple[dict[int, Clusters], xr.Dataset]:
    """Clusters of every year and class, each fitted in one task on a sample sorted by pixel id, and the witnesses.

    The series of both come from one pass over the cube.
    """
    tasks: dict[int, dict[int, Any]] = {}
    for y, found in pools.items():
        code, ids = found.candidates.label, found.candidates.id
        tasks[y] = {}
        for c in np.unique(code).tolist():
            dn, usable = sampling.series(cube, y, np.sort(ids[code == c]))
            fit = partial(_fit_class, reading=reading[y], settings=settings, seed=seed)
            tasks[y][c] = lazy.call(fit, dn.data, usable.data, name=f"cluster-{y}-{c}")
    panel_labels, panel_ids = panel_of(pools[anchor], cube.sizes[Y] * cube.sizes[X], seed)
    clusters, looks = lazy.compute([tasks, look(cube, list(pools), panel_ids)])
    watched = seen(panel_labels, panel_ids, looks)
    return clusters, with_good(
        watched, reading[anchor].in_kept(*series_in(watched, anchor), panel_labels, clusters[anchor])
    )


def _compared(
    clusters: Mapping[int, Clusters], watched: xr.Dataset, reading: Mapping[int, Series]
) -> tuple[dict[int, dict[int, Continuity]], Judge | None]:
    """Compare the classes of all years with those of the old map's year; with the judge of the classes in doubt."""
    label = watched.witness_label.values
    at = np.flatnonzero(label)
    if not watched.witness_good.values.any():
        return {}, None
    judge = lazy.call(judge_of, watched, name="judge")
    kept = lazy.compute(lazy.call(kept_witnesses, watched, judge, name="kept-witnesses"))
    features = {y: own.features(*series_in(watched, y, at)) for y, own in reading.items()}
    anchor = int(watched.attrs["anchor"])
    found = compare_years(clusters, features, label[at], anchor, kept_shares(watched, kept))
    doubts = doubted(found)
    return found, lazy.compute(lazy.call(judge_of, watched, doubts, name="judge")) if doubts else None


def _fit_class(dn: Array, usable: Array, reading: Series, settings: Clustering, seed: int) -> ClassClusters:
    return fit_clusters(
        reading.features(dn.transpose(1, 2, 0), usable.T),
        seed=seed,
        max_clusters=settings.max_clusters,
        min_silhouette=settings.min_silhouette,
        min_share=settings.min_share,
    )


def _report(clusters: Mapping[int, Clusters], legend: Legend) -> list[dict[str, Any]]:
    """One row per year and class: sizes of the clusters, the kept clusters, and whether the choice is ambiguous."""
    return [
        {
            "year": y,
            "class": legend.names[code],
            "sizes": np.asarray(model.sizes).tolist(),
            "kept": list(model.kept),
            "silhouette": round(float(model.silhouette), 4),
            "ambiguous": bool(model.ambiguous),
        }
        for y, own in clusters.items()
        for code, model in own.items()
    ]
