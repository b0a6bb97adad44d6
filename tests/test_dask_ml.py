"""Two independent ways to distribute one forest over Dask must give the same labels (decision 002)."""

from __future__ import annotations

import dask.array as da
import numpy as np
import pytest

from mlc_dask.classifiers import Context, RandomForest, TrainingSet
from mlc_dask.legend import DEFAULT_LEGEND

wrappers = pytest.importorskip("dask_ml.wrappers", reason="dask-ml is not installed")


def test_parallel_post_fit_gives_the_labels_of_our_forest() -> None:
    from sklearn.ensemble import RandomForestClassifier

    random = np.random.default_rng(0)
    labels = random.integers(1, 5, 600).astype(np.uint8)
    dn = (random.normal(0, 400, (600, 6, 3)) + 1000 + 300.0 * labels[:, None, None]).clip(1, 9999).astype(np.uint16)
    context = Context(DEFAULT_LEGEND, ("B02", "B03", "B04"), tuple(float(d) for d in range(0, 180, 30)))
    ours = RandomForest(trees=25).fit(TrainingSet(dn, labels, np.zeros(600, bool), context), seed=3)

    settings = {"n_estimators": 25, "max_features": "sqrt", "random_state": 3}
    theirs = wrappers.ParallelPostFit(RandomForestClassifier(**settings)).fit(dn.reshape(600, -1), labels)
    pixels = random.integers(500, 4000, (5000, 6, 3)).astype(np.uint16)
    distributed = theirs.predict(da.from_array(pixels.reshape(5000, -1).astype(np.float32), chunks=(700, -1))).compute()
    np.testing.assert_array_equal(ours.predict(pixels.transpose(1, 2, 0))[0], distributed)
