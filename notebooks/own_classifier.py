# ---
# jupyter:
#   jupytext:
#     formats: ipynb,py:percent
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Your own classifier
#
# A classifier is two small classes: the settings, which can be fitted, and the fitted model, which predicts.
# Everything else (patches, gaps, workers, filters and evidence) stays the same. Here scikit-learn's histogram gradient
# boosting replaces the LSTM.

# %%
import pickle
import tempfile
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import ClassVar

import numpy as np
from sklearn.ensemble import HistGradientBoostingClassifier
from threadpoolctl import threadpool_limits

import mlc_dask as mlc
from mlc_dask.worlds import World, write_world

folder = Path(tempfile.mkdtemp(prefix="mlc-own-classifier-"))
write_world(folder, World(size=96, seed=5, acquisitions_per_year=12))

# %% [markdown]
# ## What a model must do
#
# `predict` takes digital numbers (acquisition, band, pixel) with filled gaps, and returns a code and a confidence in
# per cent for every pixel. The result for a pixel must not depend on the other pixels of the call, because patches are
# cut anywhere. `digest` identifies the model: results are reused when it is equal, so it must depend on everything that
# the model was made from.


# %%
@dataclass(frozen=True, eq=False)
class BoostedModel:
    settings: "Boosting"
    context: object
    classes: np.ndarray
    digest: str
    trees: HistGradientBoostingClassifier

    history = ()
    engine = "scikit-learn"

    def predict(self, dn):
        self.context.check_series(dn)
        with threadpool_limits(1):
            shares = self.trees.predict_proba(features(dn, self.context.bands))
        percent = np.clip(np.rint(100 * shares.max(axis=1)), 1, 100).astype(np.uint8)
        return self.classes[shares.argmax(axis=1)], percent

    def __dask_tokenize__(self):
        return self.digest

    # A pickle runs whatever stands in it when it is opened: fine for your own files, never for a stranger's.
    def save(self, folder):
        Path(folder).mkdir(parents=True, exist_ok=True)
        (Path(folder) / "boosted.pickle").write_bytes(pickle.dumps(self))

    @classmethod
    def load(cls, folder):
        return pickle.loads((Path(folder) / "boosted.pickle").read_bytes())


def features(dn, bands):
    """(acquisition, band, pixel) → (pixel, feature): every value, and the NDVI of every date."""
    reflectance = dn.astype(np.float32) * 1e-4 - 0.1
    red, nir = reflectance[:, bands.index("B04")], reflectance[:, bands.index("B08")]
    ndvi = (nir - red) / np.maximum(nir + red, 0.01)
    return np.concatenate([reflectance.reshape(-1, dn.shape[2]), ndvi]).T


# %% [markdown]
# ## What a classifier must do
#
# A classifier is a frozen dataclass whose fields are the settings. `part` returns the training series, and their
# labels as positions in `data.classes`; the validation samples are held back. `resource` names the resource that
# workers should have (the LSTM asks for a GPU where there is one); None means that any worker will do. A task of a
# cluster has one core, hence the limits on threads.


# %%
@dataclass(frozen=True)
class Boosting:
    name: ClassVar[str] = "boosting"
    model: ClassVar[type] = BoostedModel
    resource: ClassVar[str | None] = None

    rounds: int = 40
    learning_rate: float = 0.1
    leaves: int = 8

    def fit(self, data, *, seed, checkpoint=None, report=None):
        dn, labels = data.part(validation=False)
        trees = HistGradientBoostingClassifier(
            max_iter=self.rounds, learning_rate=self.learning_rate, max_leaf_nodes=self.leaves,
            early_stopping=False, random_state=seed,
        )  # fmt: skip
        with threadpool_limits(1):
            trees.fit(features(dn.transpose(1, 2, 0), data.context.bands), labels)
        digest = sha256(repr((self, seed, data.digest)).encode()).hexdigest()
        return BoostedModel(self, data.context, data.classes, digest, trees)


# %% [markdown]
# ## From end to end
#
# The calls are those of the quick start, except for the classifier.

# %%
source = mlc.GeoTiff(folder=folder / "acquisitions")
selection = mlc.choose_acquisitions(source, rules=mlc.PairingRules(size=8))
mlc.write_cube(mlc.stack(source, selection, grid=source.catalogue().grid, chunk=96), folder / "cube")
cube = mlc.open_cube(folder / "cube", patch=96)
product = mlc.open_product(folder / "product" / "corine.tif", crosswalk="corine", like=cube)

annual = mlc.select_reliable_samples(
    cube, product, size=1500, min_per_class=40, clustering=mlc.Clustering(pixels=1000, max_clusters=3), seed=0
)
forests = mlc.fit_per_year(annual, classifier=mlc.RandomForest(trees=50))
unchanged = mlc.unchanged_areas(mlc.classify(cube, forests).compute(), product)
samples = mlc.sample_unchanged(cube, product, unchanged, train=1500, validation=600, min_per_class=40, block=16, seed=0)

# %%
classifiers = {"boosting": Boosting(), "forest": mlc.RandomForest(trees=100)}
trained = {name: mlc.fit(samples, classifier=own, seed=0) for name, own in classifiers.items()}
maps = {name: mlc.classify(cube, model).compute() for name, model in trained.items()}
maps["boosting"].mlc

# %% [markdown]
# ## Is it any better?
#
# Compare it with the planted truth, and read all figures: a classifier that flickers less agrees better with itself,
# and a classifier that finds more changes also finds more false ones.

# %%
truth = maps["forest"].label.copy(
    data=np.stack(
        [
            mlc.open_reference(folder / "truth" / f"{y}.tif", like=cube, legend=mlc.DEFAULT_LEGEND).values
            for y in selection.years
        ]
    )
)
found = mlc.evaluate({(name, False): own for name, own in maps.items()}, truth=truth, legend=mlc.DEFAULT_LEGEND)
wanted = found.summary[found.summary.metric.isin(["agreement", "accuracy", "change_recall", "change_precision"])]
wanted.pivot_table(index=["metric", "scope"], columns="model", values="value", sort=False).round(3)

# %% [markdown]
# One small world cannot decide between two classifiers: another `seed` may reverse the order. Use several seeds.
#
# ## Save the model

# %%
mlc.save_model(trained["boosting"], folder / "model")
again = BoostedModel.load(folder / "model")
assert again.digest == trained["boosting"].digest

# %% [markdown]
# To train it in runs by the command line, put both classes into a module of `mlc_dask/classifiers/`, and the settings
# into `CLASSIFIERS` in `mlc_dask/classifiers/__init__.py`. `kind = "boosting"` in the table `[classifier]` of a
# configuration then chooses it. With an entry of `SMALL`, the contract tests in `tests/test_classifiers.py` run over it
# as over all others. They also check points that this notebook skips, such as loading a model without running code from
# its file.
