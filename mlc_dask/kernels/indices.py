"""Spectral indices of reflectance, computed from digital numbers (method section 4)."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]

_OFFSET = np.float32(1000)  # DN of zero reflectance; DN = 10000·ρ + 1000 throughout the cube


def _normalised_difference(first: Floats, second: Floats) -> Floats:
    # Slightly negative reflectance over deep shadow drives the quotient out of its range; it would dominate clustering.
    return np.clip(_quotient(first - second, first + second), np.float32(-1), np.float32(1))


def _evi(nir: Floats, red: Floats, blue: Floats) -> Floats:
    # The denominator crosses zero over snow and cloud, so the result is clipped.
    scaled = _quotient(np.float32(2.5) * (nir - red), nir + 6 * red - np.float32(7.5) * blue + 10_000)
    return np.clip(scaled, np.float32(-1), np.float32(2.5))


def _quotient(numerator: Floats, denominator: Floats) -> Floats:
    return np.divide(numerator, denominator, out=np.full_like(numerator, np.nan), where=denominator != 0)


_FORMULAS: dict[str, tuple[Callable[..., Floats], tuple[str, ...]]] = {
    "ndvi": (_normalised_difference, ("nir", "red")),
    "evi": (_evi, ("nir", "red", "blue")),
    "ndwi": (_normalised_difference, ("green", "nir")),
    "ndsi": (_normalised_difference, ("green", "swir1")),
    "soil": (_normalised_difference, ("swir1", "blue")),
}

INDICES = tuple(_FORMULAS)
"""Names of the five indices, in the order in which they are returned."""


def available(roles: Mapping[str, int]) -> tuple[str, ...]:
    """Names of the indices that can be computed from the bands of `roles`, in the order of :data:`INDICES`."""
    return tuple(name for name, (_, needs) in _FORMULAS.items() if all(role in roles for role in needs))


def spectral_indices(dn: npt.NDArray[np.uint16], roles: Mapping[str, int]) -> Floats:
    """Compute every available index of every acquisition (paper section 2.2, method section 4).

    Where the bands allow no index, the reflectance of every band takes its place.

    NDVI, NDWI, NDSI and the bounded soil index (swir1 − blue)/(swir1 + blue) lie in [−1, 1], EVI in [−1, 2.5]. Values
    outside, which result from a denominator near zero or a negative reflectance, are clipped.

    Parameters
    ----------
    dn
        (T, B, P) uint16 digital numbers, reflectance = DN·1e-4 − 0.1, 0 = no data.
    roles
        Spectral role (``blue``, ``green``, ``red``, ``nir``, ``swir1``) → band position.

    Returns
    -------
    (T, I, P) float32, I = ``len(available(roles))``; NaN where a band of the index has no data or the denominator is 0.
    Without any index I = B, in ten-thousandths of reflectance.
    """
    names = available(roles)
    if not names:
        return _scaled(dn)
    steps, _, pixels = dn.shape
    out = np.empty((steps, len(names), pixels), np.float32)
    needed = {role for name in names for role in _FORMULAS[name][1]}
    for step in range(steps):
        bands = {role: _scaled(dn[step, roles[role]]) for role in needed}
        for position, name in enumerate(names):
            formula, needs = _FORMULAS[name]
            out[step, position] = formula(*(bands[role] for role in needs))
    return out


def _scaled(dn: npt.NDArray[np.uint16]) -> Floats:
    """Reflectance times 10000, NaN for no data.

    The factor cancels in every index. Small integers are exact in float32, so a zero denominator is exactly zero, and
    each index is rounded only once.
    """
    scaled = dn.astype(np.float32)
    scaled[dn == 0] = np.nan
    scaled -= _OFFSET
    return scaled
