"""Agreement of the interpreters of a reference sample (method section 9)."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import combinations

import numpy as np
import pandas as pd

from mlc_dask.data.legend import NO_DATA
from mlc_dask.kernels.interpreters import interpreters_agreement
from mlc_dask.stages.points import LABEL


def compare_interpreters(labels: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """Compare the labels that interpreters gave to the same points and years.

    Parameters
    ----------
    labels
        Tables of ``id`` and ``label_YEAR`` (codes, 0 for none) by interpreter.

    Returns
    -------
    Table with columns ``first``, ``second``, ``points``, ``labels`` (points and years that both labelled), ``share`` of
    equal labels, and Cohen's ``kappa``; NaN without common labels.
    """
    rows = []
    for (a, first), (b, second) in combinations(labels.items(), 2):
        years = [c for c in first if LABEL.fullmatch(str(c)) and c in second]
        one, other = (table.set_index("id")[years] for table in (first, second))
        common = one.index.intersection(other.index)
        pair = [part.loc[common].to_numpy(np.uint8) for part in (one, other)]
        both, found = (pair[0] != NO_DATA) & (pair[1] != NO_DATA), interpreters_agreement(*pair)
        counts = {"points": int(both.any(axis=1).sum()), "labels": int(found.n[-1])}
        rows.append({"first": a, "second": b, **counts, "share": found.share[-1], "kappa": found.kappa[-1]})
    return pd.DataFrame(rows, columns=["first", "second", "points", "labels", "share", "kappa"])
