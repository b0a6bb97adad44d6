"""The judge of classes that may have changed as a whole: it knows the old map's year only (method section 5)."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import xarray as xr

from mlc_dask.classifiers.context import Context
from mlc_dask.classifiers.forest.settings import RandomForest
from mlc_dask.classifiers.protocol import TrainingSet
from mlc_dask.data.legend import NEVER_WRITTEN, UNCOLOURED, LandCoverClass, Legend
from mlc_dask.data.schema import BAND, DN_OFFSET, WITNESS_YEAR
from mlc_dask.kernels.continuity import FEWEST, change_magnitude, common_offset, farthest_unchanged
from mlc_dask.stages.witnesses import days_seen, enough_dates, filled_in, logarithms

if TYPE_CHECKING:
    from mlc_dask.classifiers import Model

_FOREST = RandomForest(trees=100, min_samples_leaf=3)
_TOLD_APART = 0.5
"""How much less of a class must look like it after than before, in pixels that taught the forest nothing."""


@dataclass(frozen=True, eq=False)
class Judge:
    """What tells whether pixels are still what they were in the old map's year, by two witnesses that err differently.

    A forest that learned from the old map's year only says what a pixel looks like. It sees the dates of a band from
    dark to bright, not in their order: a season that comes earlier, or a cloud that a mask missed, moves few of these
    values; another cover moves most. The change magnitude says whether the pixel moved at all.

    Attributes
    ----------
    anchor
        The old map's year.
    shared
        (T, B) by year: natural logarithm of the factor by which the reflectance of a date differs from that of the old
        map's year.
    farthest
        By year, see :func:`mlc_dask.kernels.continuity.farthest_unchanged`.
    """

    model: Model
    anchor: int
    shared: Mapping[int, npt.NDArray[np.float64]]
    farthest: Mapping[int, float]

    def calls(
        self, year: int, dn: npt.NDArray[np.uint16], labels: npt.NDArray[np.uint8] | int
    ) -> npt.NDArray[np.bool_]:
        """Mask (P,) of gap-free series (T, B, P) of `year` that look like what `labels` (P,) were."""
        called: npt.NDArray[np.bool_] = self.model.predict(_as_learned(dn, self.shared[year]))[0] == labels
        return called

    def moved(self, year: int, then: npt.NDArray[np.uint16], now: npt.NDArray[np.uint16]) -> npt.NDArray[np.bool_]:
        """Mask (P,) of pixels whose series (T, B, P) of the old map's year and of `year` are of other ground."""
        return _magnitude(then, now, self.shared[year]) > self.farthest[year]

    def keeps(
        self,
        year: int,
        then: npt.NDArray[np.uint16],
        now: npt.NDArray[np.uint16],
        labels: npt.NDArray[np.uint8] | int,
    ) -> npt.NDArray[np.bool_]:
        """Mask (P,) of pixels that look like what `labels` were, or did not move: a change needs both witnesses."""
        return self.calls(year, now, labels) | ~self.moved(year, then, now)

    def is_sure_of(
        self,
        year: int,
        then: npt.NDArray[np.uint16],
        now: npt.NDArray[np.uint16],
        code: int,
        seen: npt.NDArray[np.bool_] | bool = True,
    ) -> npt.NDArray[np.bool_]:
        """Mask (P,) of pixels that look like what the class `code` was, and did not move: samples need both.

        A pixel that was not `seen` in the old map's year, with too few usable dates, cannot have moved.
        """
        return self.calls(year, now, code) & ~(self.moved(year, then, now) & seen)


def judge_of(
    watched: xr.Dataset,
    doubted: Mapping[int, Collection[int]] = MappingProxyType({}),
    *,
    teachers: npt.NDArray[np.bool_] | None = None,
) -> Judge:
    """Train the judge on the good witnesses; `watched` may be a whole sample set with its witnesses.

    `doubted` are the codes, by year, of classes that may have changed as a whole. What became of those of their
    witnesses that moved is a class of its own to the forest: the change teaches what the class is not, so that the
    forest does not take the same kind of ground for the class where the old map has always been wrong, nor ground of
    a kind that it never saw. Only the `teachers` (n,) among all witnesses teach it, by default all.
    """
    anchor, years = int(watched.attrs["anchor"]), watched[WITNESS_YEAR].values.tolist()
    good = np.flatnonzero(watched.witness_good.values)
    label, series = watched.witness_label.values[good], {y: filled_in(watched, y, good) for y in years}
    able, then = {y: enough_dates(watched, y)[good] for y in years}, series[anchor]
    shared = {y: _shared(then, now, label, able[anchor], able[y]) for y, now in series.items()}
    magnitudes = {y: _magnitude(then, now, shared[y]) for y, now in series.items()}
    farthest = {y: farthest_unchanged(magnitudes[y][able[y]], label[able[y]]) for y in years}
    pixels, codes = [_as_learned(then, shared[anchor])], [label]
    unused = next(c for c in range(1, NEVER_WRITTEN) if c not in label)
    teach = np.ones(good.size, np.bool_) if teachers is None else teachers[good]
    for y, own in doubted.items():
        became = teach & able[y] & np.isin(label, list(own)) & (magnitudes[y] > farthest[y])
        pixels.append(_as_learned(series[y][..., became], shared[y]))
        codes.append(np.full(int(became.sum()), unused, np.uint8))
    data = _training_set(watched, np.concatenate(pixels, axis=-1), np.concatenate(codes))
    return Judge(_FOREST.fit(data, seed=0), anchor, shared, farthest)


def kept_witnesses(watched: xr.Dataset, judge: Judge) -> dict[int, npt.NDArray[np.bool_]]:
    """Mask (n,) of the witnesses that the judge keeps, by year.

    A forest knows no ground but that of its classes, and calls all other ground one of them. Where most witnesses of a
    class moved, half of them therefore teach it what the class became, and the other half are judged, in turn; unless
    the forest cannot tell these before from after, as with crops that are rotated.
    """
    label = watched.witness_label.values
    series = {y: filled_in(watched, y) for y in watched[WITNESS_YEAR].values.tolist()}
    then = series[judge.anchor]
    kept = {y: judge.keeps(y, then, now, label) for y, now in series.items()}
    suspects = _mostly_moved(watched, judge, series)
    odd = np.arange(label.size) % 2 == 1
    for teachers in (odd, ~odd) if suspects else ():
        taught = judge_of(watched, suspects, teachers=teachers)
        before = taught.calls(judge.anchor, then, label)
        for y, codes in suspects.items():
            after = taught.calls(y, series[y], label)
            unmoved = ~taught.moved(y, then, series[y])
            for code in codes:
                own = (label == code) & ~teachers
                good = own & watched.witness_good.values
                if before[good].mean() - after[good].mean() >= _TOLD_APART:
                    kept[y] = np.where(own, after | unmoved, kept[y])
    return kept


def _mostly_moved(
    watched: xr.Dataset, judge: Judge, series: Mapping[int, npt.NDArray[np.uint16]]
) -> dict[int, set[int]]:
    """Codes, by year, of the classes of whose good witnesses more than half moved; not where they are few."""
    found = {}
    for y, now in series.items():
        good = watched.witness_good.values & enough_dates(watched, y)
        counts, moved = (
            np.bincount(watched.witness_label.values[mask], minlength=NEVER_WRITTEN)
            for mask in (good, good & judge.moved(y, series[judge.anchor], now))
        )
        found[y] = set(np.flatnonzero((counts >= FEWEST) & (2 * moved > counts)).tolist())
    return {y: codes for y, codes in found.items() if codes}


def kept_shares(watched: xr.Dataset, kept: Mapping[int, npt.NDArray[np.bool_]]) -> dict[int, dict[int, float]]:
    """Share of the good witnesses of a class that the judge keeps, by year and code; not where they are few."""
    found = {}
    for y, own in kept.items():
        at = np.flatnonzero(watched.witness_good.values & enough_dates(watched, y))
        label = watched.witness_label.values[at]
        codes, counts = np.unique(label, return_counts=True)
        found[y] = {c: float(own[at][label == c].mean()) for c in codes[counts >= FEWEST].tolist()}
    return found


def _training_set(watched: xr.Dataset, pixels: npt.NDArray[np.uint16], codes: npt.NDArray[np.uint8]) -> TrainingSet:
    """Make samples of series (T, B, n) with codes (n,), which need not be those of the legend."""
    context = Context(
        legend=Legend(tuple(LandCoverClass(c, str(c), UNCOLOURED) for c in np.unique(codes).tolist())),
        bands=tuple(watched[BAND].values.tolist()),
        days=tuple(days_seen(watched, int(watched.attrs["anchor"])).tolist()),
        gaps=watched.attrs["gaps"],
        min_valid=int(watched.attrs["min_valid"]),
    )
    return TrainingSet(pixels.transpose(2, 0, 1), codes, np.zeros(len(codes), np.bool_), context)


def _as_learned(dn: npt.NDArray[np.uint16], shared: npt.NDArray[np.float64]) -> npt.NDArray[np.uint16]:
    """Series (T, B, P) as they would have been in the old map's year, the dates of a band from dark to bright."""
    reflectance = (dn.astype(np.float32) - DN_OFFSET) * np.exp(-shared)[:, :, None].astype(np.float32)
    as_then = np.clip(np.rint(reflectance) + DN_OFFSET, 1, np.iinfo(np.uint16).max).astype(np.uint16)
    return np.sort(as_then, axis=0)


def _shared(
    then: npt.NDArray[np.uint16],
    now: npt.NDArray[np.uint16],
    labels: npt.NDArray[np.uint8],
    *able: npt.NDArray[np.bool_],
) -> npt.NDArray[np.float64]:
    """Offset (T, B) of the logarithms of series (T, B, n), from the pixels that have enough dates in both years."""
    both = np.logical_and.reduce(able)
    return common_offset(logarithms(then[..., both]), logarithms(now[..., both]), labels[both]).reshape(then.shape[:2])


def _magnitude(
    then: npt.NDArray[np.uint16], now: npt.NDArray[np.uint16], shared: npt.NDArray[np.float64]
) -> npt.NDArray[np.float32]:
    shape = (now.shape[-1], *now.shape[:2])
    return change_magnitude(logarithms(then).reshape(shape), logarithms(now).reshape(shape), shared)
