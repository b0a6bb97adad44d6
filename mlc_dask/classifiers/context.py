"""The legend, bands and dates that a model was trained for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, get_args

import numpy as np
import numpy.typing as npt

from mlc_dask.data.errors import InputError
from mlc_dask.data.legend import Legend
from mlc_dask.data.settings import GapMethod

GAPS: Final = get_args(GapMethod)


@dataclass(frozen=True)
class Context:
    """What a model was trained for; the model rejects series of any other shape.

    Parameters
    ----------
    legend
        Classes that the label codes refer to.
    bands
        Band names in the order of the band axis.
    days
        Mean day of the year of each acquisition position, in the order of the acquisition axis.
    gaps
        How gaps were filled in training; prediction must fill them the same way (method section 3).
    min_valid
        Least number of usable dates that a pixel needs to get a label.
    """

    legend: Legend
    bands: tuple[str, ...]
    days: tuple[float, ...]
    gaps: GapMethod = "interpolate"
    min_valid: int = 5

    def __post_init__(self) -> None:
        if not self.bands or not self.days:
            raise InputError(
                f"a classifier needs bands and acquisitions, but got {len(self.bands)} bands and {len(self.days)} "
                f"acquisitions; take both from the cube"
            )
        if self.gaps not in GAPS:
            raise InputError(f"gaps={self.gaps!r} is unknown; use {' or '.join(map(repr, GAPS))}")

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready form, the inverse of :meth:`from_dict`."""
        return {
            "legend": self.legend.to_dict(),
            "bands": list(self.bands),
            "days": list(self.days),
            "gaps": self.gaps,
            "min_valid": self.min_valid,
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Context:
        """Rebuild a context from the result of :meth:`to_dict`; a missing part raises `KeyError`."""
        return cls(
            legend=Legend.from_dict(data["legend"]),
            bands=tuple(data["bands"]),
            days=tuple(float(day) for day in data["days"]),
            gaps=data["gaps"],
            min_valid=int(data["min_valid"]),
        )

    def check_series(self, dn: npt.NDArray[np.uint16]) -> None:
        """Raise InputError unless `dn` is (T, B, P) uint16 with the T acquisitions and B bands of this context."""
        expected = (len(self.days), len(self.bands))
        if dn.ndim != 3 or dn.shape[:2] != expected:
            raise InputError(
                f"the series has shape {dn.shape}, but the model was trained on {expected[0]} acquisitions × "
                f"{expected[1]} bands; give a series (acquisition, band, pixel) of the bands {', '.join(self.bands)}"
            )
        if dn.dtype != np.uint16:
            raise InputError(f"the series is {dn.dtype}, not uint16; give the digital numbers of the cube")
