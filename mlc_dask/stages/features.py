"""What clusters see of a series: the spectral indices of all its dates (method sections 3 and 4)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from mlc_dask.data.settings import GapMethod
from mlc_dask.kernels.clusters import ClassClusters, assign_clusters
from mlc_dask.kernels.gaps import fill
from mlc_dask.kernels.indices import spectral_indices

Array = npt.NDArray[Any]

_PIXELS_AT_ONCE = 65_536


def some_at_once(positions: npt.NDArray[np.intp]) -> Iterator[npt.NDArray[np.intp]]:
    """Divide positions, so that what is computed for them at a time stays small."""
    for start in range(0, len(positions), _PIXELS_AT_ONCE):
        yield positions[start : start + _PIXELS_AT_ONCE]


@dataclass(frozen=True)
class Series:
    """How to read the series of one year: days (T,), gap rule, and the band position of every spectral role."""

    days: npt.NDArray[np.float64]
    gaps: GapMethod
    roles: Mapping[str, int]

    def features(self, dn: Array, usable: Array) -> npt.NDArray[np.float32]:
        """Spectral indices of all dates (P, T * I) float32, from series (T, B, P) and usable dates (T, P)."""
        indices = spectral_indices(fill(dn, usable, self.days, self.gaps), self.roles)
        return np.ascontiguousarray(indices.reshape(-1, indices.shape[-1]).T)

    def in_kept_clusters(
        self, dn: Array, usable: Array, labels: Array, clusters: Mapping[int, ClassClusters]
    ) -> Iterator[tuple[int, npt.NDArray[np.intp], npt.NDArray[np.uint8]]]:
        """Pixels of each class that lie in a kept cluster of it, some at a time: code, positions, and cluster numbers.

        `dn` (T, B, P), `usable` (T, P) and `labels` (P,) are those of a block.
        """
        for code, own in clusters.items():
            for at in some_at_once(np.flatnonzero(labels == code)):
                cluster = assign_clusters(self.features(dn[:, :, at], usable[:, at]), own)
                kept = np.isin(cluster, own.kept)
                yield code, at[kept], cluster[kept]

    def in_kept(
        self, dn: Array, usable: Array, labels: Array, clusters: Mapping[int, ClassClusters]
    ) -> npt.NDArray[np.bool_]:
        """Mask (P,) of the pixels that lie in a kept cluster of their class; arguments as above."""
        found = np.zeros(labels.size, np.bool_)
        for _, at, _ in self.in_kept_clusters(dn, usable, labels, clusters):
            found[at] = True
        return found
