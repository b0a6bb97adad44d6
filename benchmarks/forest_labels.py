"""Whether the compiled forest gives scikit-learn's labels, on millions of pixels.

Usage: python benchmarks/forest_labels.py [MILLIONS], 10 by default. A hundred trees of the paper's features, whose
leaves hold at least five samples (`min_samples_leaf=5`), so that votes are sums of fractions. Labels and the top
class's share must be equal bit by bit; differing pixels are counted for every instruction set.
"""

from __future__ import annotations

import sys

import numpy as np
from engines import B, T, modules, series
from sklearn.ensemble import RandomForestClassifier

from mlc_dask.classifiers.forest.trees import flatten
from mlc_dask.classifiers.forest.votes import NativeForest, SklearnForest

AT_ONCE = 250_000


def main() -> None:
    """Compare, batch by batch."""
    millions = float(sys.argv[1]) if len(sys.argv) > 1 else 10
    dn, labels = series(24_000, 2)
    forest = RandomForestClassifier(n_estimators=100, min_samples_leaf=5, random_state=0, n_jobs=1)
    arrays = flatten([e.tree_ for e in forest.fit(dn.reshape(T * B, -1).T.astype(np.float32), labels).estimators_])
    reference = SklearnForest(arrays, T * B)
    engines = [NativeForest(arrays, T * B, module) for module in modules().values()]
    different, pixels = dict.fromkeys((e.name for e in engines), 0), 0
    while pixels < millions * 1e6:
        part = series(AT_ONCE, 100 + pixels)[0].reshape(T * B, -1)
        expected = reference.classify(part)
        for engine in engines:
            found = engine.classify(part)
            unequal = np.any([a != b for a, b in zip(found, expected, strict=True)], axis=0)
            different[engine.name] += int(unequal.sum())
        pixels += AT_ONCE
    for name, count in different.items():
        print(f"{name}: {count:,} of {pixels:,} pixels differ from scikit-learn")


if __name__ == "__main__":
    main()
