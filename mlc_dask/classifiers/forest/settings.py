"""The Random Forest that makes the preliminary maps (paper section 2.3, method section 6)."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, ClassVar

import numpy as np
from pydantic import Field, field_validator

from mlc_dask.classifiers.engine import Engine
from mlc_dask.classifiers.forest.trees import check_trees, flatten
from mlc_dask.classifiers.forest.votes import engine_here, forest_engine
from mlc_dask.classifiers.protocol import Model, Report, TrainingSet
from mlc_dask.classifiers.stored import StoredModel
from mlc_dask.data.settings import settings


class ForestModel(StoredModel["RandomForest"]):
    """A trained forest, as the flat arrays of :mod:`mlc_dask.classifiers.forest.trees`.

    The probability of a class is its share in the leaf that the pixel reaches, averaged over the trees.
    """

    @staticmethod
    def parse_settings(values: Mapping[str, Any]) -> RandomForest:
        """Build the classifier from its saved fields."""
        return RandomForest(**values)

    @property
    def _features(self) -> int:
        return len(self.context.days) * len(self.context.bands)

    @cached_property
    def _engine(self) -> Engine:
        return forest_engine(self.arrays, self._features)

    def check(self) -> None:
        """Raise `ValueError` or `KeyError` if the arrays are not a forest of these settings."""
        check_trees(self.arrays, self.settings.trees, self._features, len(self.classes))


@settings
class RandomForest:
    """Random Forest; the settings mean the same as in scikit-learn (method section 6).

    Parameters
    ----------
    trees
        Number of trees.
    max_depth
        Largest depth of a tree; None grows trees until the leaves are pure.
    min_samples_leaf
        Least number of training samples in a leaf.
    max_features
        Number of the T·B values tried at a split: ``"sqrt"``, ``"log2"``, a share of the values, or None for all.
    """

    name: ClassVar[str] = "forest"
    model: ClassVar[type[Model]] = ForestModel
    resource: ClassVar[str | None] = None

    trees: Annotated[int, Field(ge=1, description="trees per forest")] = 200
    max_depth: Annotated[int | None, Field(ge=1, description="unlimited by default")] = None
    min_samples_leaf: Annotated[int, Field(ge=1, description="least samples per leaf")] = 1
    max_features: Annotated[
        str | float | None, Field(description="values tried per split: sqrt, log2, or a share of all; 1.0 is all")
    ] = "sqrt"

    @field_validator("max_features")
    @classmethod
    def _known(cls, share: str | float | None) -> str | float | None:
        if share in ("sqrt", "log2", None) or (isinstance(share, float) and 0 < share <= 1):
            return share
        raise ValueError("unknown; give 'sqrt', 'log2', or a share in (0, 1]")

    @staticmethod
    def engine_here() -> str:
        """Return the name of the engine of forests in this process."""
        return engine_here()

    def fit(
        self, data: TrainingSet, *, seed: int, checkpoint: Path | None = None, report: Report | None = None
    ) -> ForestModel:
        """Grow the forest on the training part of `data`.

        Parameters
        ----------
        data
            Series (N, T, B) uint16 and labels; the validation part is not used.
        seed
            Seed of the bootstrap samples and of the values tried at every split.
        checkpoint, report
            Not used: a forest has no epochs.
        """
        # scikit-learn takes seconds to import, and only training needs it.
        from sklearn.ensemble import RandomForestClassifier

        dn, labels = data.part(validation=False)
        forest = RandomForestClassifier(
            n_estimators=self.trees,
            max_depth=self.max_depth,
            min_samples_leaf=self.min_samples_leaf,
            max_features=self.max_features,
            # A task of a cluster has one core.
            n_jobs=1,
            random_state=np.random.RandomState(np.random.MT19937(np.random.SeedSequence(seed))),
        )
        forest.fit(dn.reshape(len(dn), -1).astype(np.float32), labels)
        # `labels` are positions in the classes and none is missing, so column i of every leaf is class i.
        assert np.array_equal(forest.classes_, np.arange(len(data.classes)))
        return ForestModel(self, data.context, data.classes, (), flatten([e.tree_ for e in forest.estimators_]))
