"""Gaps in a year of acquisitions: cloud, shadow and missing swath."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from mlc_dask import native
from mlc_dask.data.errors import InputError
from mlc_dask.data.settings import GapMethod


def count_valid(usable: npt.NDArray[np.bool_]) -> npt.NDArray[np.uint8]:
    """Count the usable dates of every pixel (method section 3).

    Parameters
    ----------
    usable
        (T, P) bool, at most 255 acquisitions.

    Returns
    -------
    (P,) uint8.
    """
    assert len(usable) <= 255, len(usable)
    return np.asarray(usable.sum(axis=0, dtype=np.uint8))


def fill(
    dn: npt.NDArray[np.uint16],
    usable: npt.NDArray[np.bool_],
    days: npt.NDArray[np.float64],
    method: GapMethod = "interpolate",
    pixels: npt.NDArray[np.intp] | None = None,
) -> npt.NDArray[np.uint16]:
    """Fill the gaps of one year, pixel by pixel (method section 3).

    ``"interpolate"`` replaces every unusable date by linear interpolation in time between its usable neighbours; dates
    before the first usable one, or after the last, take its value. ``"keep"`` is the paper's choice: observations stay
    as they are, clouds included, and only DN 0 is replaced, from the dates on which the pixel has data in all bands.

    Parameters
    ----------
    dn
        (T, B, P) uint16 digital numbers, 0 = no data.
    usable
        (T, P) bool, False where there is no data. ``"keep"`` does not read it.
    days
        (T,) days of the year, strictly increasing.
    method
        ``"interpolate"`` or ``"keep"``.
    pixels
        Positions (Q,) of the pixels to fill; all by default.

    Returns
    -------
    (T, B, Q) uint16, a new array rounded to the nearest DN. A pixel without any date to fill from is 0 on all dates.

    Raises
    ------
    InputError
        If the method is unknown or the days do not increase.
    """
    steps = len(dn)
    days = np.asarray(days, np.float64)
    assert usable.shape == (steps, dn.shape[2]), (dn.shape, usable.shape)
    assert days.shape == (steps,), (dn.shape, days.shape)
    if method not in ("interpolate", "keep"):
        raise InputError(f"gaps = {method!r} is unknown; use 'interpolate' or 'keep'")
    if not (np.diff(days) > 0).all():
        raise InputError(f"acquisition days {days.tolist()} do not increase within the year; sort the acquisitions")
    module = native.portable()
    if module is None:
        chosen = (dn, usable) if pixels is None else (dn[:, :, pixels], usable[:, pixels])
        return _fill(*chosen, days, method)
    at = np.arange(dn.shape[2]) if pixels is None else pixels
    assert at.size == 0 or (at.min() >= 0 and at.max() < dn.shape[2]), (at.min(), at.max(), dn.shape)
    filled = np.empty((*dn.shape[:2], at.size), np.uint16)
    dn, usable = np.ascontiguousarray(dn), np.ascontiguousarray(usable)
    module.fill(dn, usable, days, method == "keep", np.ascontiguousarray(at, np.int64), filled)
    return filled


def _fill(
    dn: npt.NDArray[np.uint16], usable: npt.NDArray[np.bool_], days: npt.NDArray[np.float64], method: GapMethod
) -> npt.NDArray[np.uint16]:
    """Fill all pixels; the compiled kernel gives the same result bit by bit."""
    dn = np.ascontiguousarray(dn)
    source = usable if method == "interpolate" else _has_data(dn)
    filled = dn.copy()
    if source.all():
        return filled
    before, after = _neighbours(source)
    for step in range(len(dn)):
        gap = np.flatnonzero(~source[step])
        if gap.size:
            _fill_step(dn, filled[step], step, gap, (before[step, gap], after[step, gap]), days, method)
    return filled


def _has_data(dn: npt.NDArray[np.uint16]) -> npt.NDArray[np.bool_]:
    present = np.not_equal(dn[:, 0], 0)
    for band in range(1, dn.shape[1]):
        present &= dn[:, band] != 0
    return present


def _neighbours(source: npt.NDArray[np.bool_]) -> tuple[npt.NDArray[np.int16], npt.NDArray[np.int16]]:
    """Nearest source steps before and after each step, (T, P) each; at the ends both are the same step."""
    steps = len(source)
    position = np.arange(steps, dtype=np.int16)[:, None]
    before = np.maximum.accumulate(np.where(source, position, np.int16(-1)), axis=0)
    after = np.minimum.accumulate(np.where(source, position, np.int16(steps))[::-1], axis=0)[::-1]
    first, last = before < 0, after >= steps
    before[first], after[last] = after[first], before[last]
    # Only a pixel without any source still points outside the series; it is marked by -1 on both sides.
    empty = ~source.any(axis=0)
    before[:, empty] = after[:, empty] = -1
    return before, after


def _fill_step(
    dn: npt.NDArray[np.uint16],
    out: npt.NDArray[np.uint16],
    step: int,
    gap: npt.NDArray[np.intp],
    neighbours: tuple[npt.NDArray[np.int16], npt.NDArray[np.int16]],
    days: npt.NDArray[np.float64],
    method: GapMethod,
) -> None:
    """Fill the gaps of one acquisition in `out` (B, P), one band at a time to keep temporaries in cache."""
    before, after = neighbours
    empty = before < 0
    span = days[after] - days[before]
    weight = np.divide(days[step] - days[before], span, out=np.zeros_like(span), where=span > 0)
    bands, pixels = dn.shape[1:]
    start = before.astype(np.intp) * (bands * pixels) + gap
    stop = after.astype(np.intp) * (bands * pixels) + gap
    flat = dn.reshape(-1)
    for band in range(bands):
        low = flat[start + band * pixels].astype(np.float64)
        value = np.rint(low + (flat[stop + band * pixels] - low) * weight).astype(np.uint16)
        if method == "keep":
            value = np.where(dn[step, band, gap] != 0, dn[step, band, gap], value)
        value[empty] = 0
        out[band, gap] = value
