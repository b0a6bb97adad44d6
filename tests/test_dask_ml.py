"""Two independent ways to map with one forest over Dask must give the same labels (decision 002)."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import xarray as xr

import mlc_dask as mlc
from mlc_dask.classifiers import Context, TrainingSet

wrappers = pytest.importorskip("dask_ml.wrappers", reason="dask-ml is not installed")

BANDS, DATES = ("B02", "B03", "B04"), 6


def test_parallel_post_fit_maps_as_classify_does() -> None:
    random = np.random.default_rng(0)
    labels = random.integers(1, 5, 600).astype(np.uint8)
    dn = (random.normal(1000, 400, (600, DATES, 3)) + 300.0 * labels[:, None, None]).clip(1, 9999).astype(np.uint16)
    context = Context(mlc.DEFAULT_LEGEND, BANDS, tuple(30.0 * i for i in range(DATES)))
    model = mlc.RandomForest(trees=25).fit(TrainingSet(dn, labels, np.zeros(600, bool), context), seed=3)

    dims = ("year", "acquisition", "band", "y", "x")
    times = np.datetime64("2018-01-01", "ns") + np.arange(DATES) * np.timedelta64(30, "D")
    cube = xr.Dataset(
        {
            "reflectance": (dims, random.integers(500, 4000, (1, DATES, 3, 50, 40)).astype(np.uint16)),
            "usable": ((*dims[:2], "y", "x"), np.ones((1, DATES, 50, 40), bool)),
        },
        coords={"year": [2018], "band": list(BANDS), "time": (dims[:2], times[None])},
    ).chunk(y=16, x=13)
    ours = mlc.classify(cube, model).label.values[0]

    series = cube.reflectance[0].stack(pixel=("y", "x")).stack(feature=("acquisition", "band"))
    estimator = SimpleNamespace(
        predict=lambda x: model.predict(np.asarray(x).reshape(-1, DATES, 3).transpose(1, 2, 0))[0]
    )
    rows = series.data.rechunk((300, -1))
    theirs = wrappers.ParallelPostFit(estimator, predict_meta=np.empty(0, np.uint8)).predict(rows)
    np.testing.assert_array_equal(theirs.compute().reshape(50, 40), ours)
