"""What clusters see of a series: the spectral indices of all its dates (method sections 3 and 4)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from mlc_dask.data.settings import GapMethod
from mlc_dask.kernels.gaps import fill
from mlc_dask.kernels.indices import spectral_indices

Array = npt.NDArray[Any]


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
