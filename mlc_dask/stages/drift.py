"""Whether the classes and the ground of every year are still what the classifiers learned (method section 9)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt
import pandas as pd
import xarray as xr

from mlc_dask.data.schema import DN_OFFSET, SCALE, legend_of
from mlc_dask.data.steps import step
from mlc_dask.kernels.applicability import unlike
from mlc_dask.kernels.clusters import evenly
from mlc_dask.kernels.continuity import DOUBTED, FEWEST, Verdict, limit
from mlc_dask.stages import drawing as sampling
from mlc_dask.stages.judge import Judge, judge_of, kept_witnesses
from mlc_dask.stages.witnesses import enough_dates, filled_in

if TYPE_CHECKING:
    from mlc_dask.data.legend import Legend

Array = npt.NDArray[Any]

GROUND: Final = "(all ground)"
COLUMNS: Final = (
    "year", "class", "pixels", "kept", "verdict", "distance", "reach", "other", "other_distance", "band", "brightness",
    "x", "y", "words", "places",
)  # fmt: skip
"""Columns of the drift table."""

_HALF: Final = 0.5
_MUCH_GROUND: Final = 0.1
_MUCH_CHANGED: Final = 0.69
"""Change magnitude of all ground that is pointed out: half or twice the reflectance."""

_SAMPLES: Final = 4_000
_BLOCK: Final = 64


@step("drift", kind="table", version=5, shown=True)
def watch_drift(annual: xr.Dataset, *, legend: Legend | None = None) -> pd.DataFrame:
    """Compare every class in every year with the class of the old map's year, on the witnesses of the annual samples.

    Parameters
    ----------
    annual
        Annual training sets of :func:`mlc_dask.select_reliable_samples`.
    legend
        Names of the classes, by default those of the samples.

    Returns
    -------
    One row per year and class: ``pixels`` looked at; ``kept``, the share of them that the judge, who knows the old
    map's year only, keeps: they look like it, or did not move; ``verdict``, ``distance``, ``reach``, ``other`` and
    ``other_distance`` of :class:`mlc_dask.kernels.continuity.Continuity`, ``not judged`` where the pixels are fewer
    than 30; ``brightness`` of the ``band`` that changed most, as a ratio to the old map's year; the median position
    ``x``, ``y`` of the pixels that are no longer kept; and, where the class may have changed, ``words`` and the
    ``places`` of these pixels (``x y`` of each, with semicolons between). One row per year of ``(all ground)``, whose
    ``kept`` is the share of random pixels that are near some training sample, and whose ``distance``, ``band`` and
    ``brightness`` are those of the change that all ground shares.
    """
    anchor = int(annual.attrs["anchor"])
    judge = judge_of(annual) if annual.witness_good.values.any() else None
    names = (legend or legend_of(annual)).names
    kept = kept_witnesses(annual, judge) if judge is not None else {}
    nothing = np.zeros(annual.sizes["witness"], np.bool_)
    looks = {y: _Look(annual, y, kept.get(y, nothing)) for y in annual.witness_year.values.tolist()}
    rows = [row for year, own in looks.items() for row in _class_rows(annual, year, own, looks[anchor], names)]
    table = pd.DataFrame([*rows, *_ground_rows(annual, looks, judge)], columns=list(COLUMNS))
    words = _words(table, anchor)
    places = [own if said else "" for own, said in zip(table["places"], words, strict=True)]
    return table.assign(words=words, places=places)


class _Look:
    """The witnesses in one year: their filled series, which have enough dates, and which the judge keeps."""

    def __init__(self, annual: xr.Dataset, year: int, kept: npt.NDArray[np.bool_]) -> None:
        self.dn = filled_in(annual, year).transpose(2, 0, 1)
        self.able = enough_dates(annual, year)
        self.kept = kept


def _class_rows(
    annual: xr.Dataset, year: int, look: _Look, first: _Look, names: Mapping[int, str]
) -> Iterator[dict[str, Any]]:
    label = annual.witness_label.values
    known = {(r["year"], r["code"]): r for r in annual.attrs["continuity"]}
    for code in np.union1d(label[label != 0], annual.label.values).tolist():
        at = np.flatnonzero((label == code) & annual.witness_good.values & look.able & first.able)
        row, gone = known.get((year, code), {}), at[~look.kept[at]]
        verdict = row.get("verdict", "")
        band, brightness = _brightness(annual, look.dn[at], first.dn[at]) if at.size else ("", None)
        x, y = annual.witness_x.values[gone], annual.witness_y.values[gone]
        yield {
            "year": year,
            "class": names[code],
            "pixels": at.size,
            "kept": float(look.kept[at].mean()) if at.size else None,
            "verdict": str(verdict if at.size >= FEWEST or verdict in DOUBTED else Verdict.UNJUDGED),
            "distance": row.get("distance"),
            "reach": row.get("reach"),
            "other": names.get(row.get("other", 0), ""),
            "other_distance": row.get("other_distance"),
            "band": band,
            "brightness": brightness,
            "x": float(np.median(x)) if gone.size else None,
            "y": float(np.median(y)) if gone.size else None,
            "places": "; ".join(f"{a!r} {b!r}" for a, b in zip(x.tolist(), y.tolist(), strict=True)),
        }


def _brightness(annual: xr.Dataset, now: Array, then: Array) -> tuple[str, float]:
    """Band whose median reflectance changed most, and its ratio to that of the old map's year."""
    medians = [np.maximum(np.median((dn.astype(float) - DN_OFFSET) * SCALE, axis=(0, 1)), 0.005) for dn in (now, then)]
    ratio = medians[0] / medians[1]
    most = int(np.abs(np.log(ratio)).argmax())
    return str(annual.band.values[most]), float(ratio[most])


def _ground_rows(annual: xr.Dataset, looks: Mapping[int, _Look], judge: Judge | None) -> Iterator[dict[str, Any]]:
    """Share of random pixels that some training sample of the year resembles, and what all ground changed."""
    for year, look in looks.items():
        at = np.flatnonzero((annual.witness_label.values == 0) & look.able)
        kept = _share_resembled(annual, year, look.dn[at])
        shared = _change_of_all(annual, judge.shared[year]) if judge is not None else {}
        if kept is not None or shared:
            row = {"year": year, "class": GROUND, "pixels": at.size, "kept": kept, "verdict": "", "places": ""}
            yield {**row, **shared}


def _share_resembled(annual: xr.Dataset, year: int, dn: Array) -> float | None:
    """Share of pixels (n, T, B) that some training sample of the year resembles; None without either."""
    own = evenly(np.flatnonzero(annual.year.values == year), _SAMPLES)
    if not own.size or not len(dn):
        return None
    days = np.asarray(annual.attrs["days"][str(year)])
    samples = sampling.filled(annual.dn[own].values, annual.usable[own].values, days, annual.attrs["gaps"])
    blocks = annual.row.values[own] // _BLOCK * 1_000_000 + annual.column.values[own] // _BLOCK
    return 1 - float(unlike(_flat(samples), blocks, _flat(dn)).mean())


def _change_of_all(annual: xr.Dataset, shared: Array) -> dict[str, Any]:
    """Describe what all ground shares (T, B) as the row of a class: its magnitude, and the band that changed most."""
    by_band = np.median(shared, axis=0)
    most = int(np.abs(by_band).argmax())
    return {
        "distance": float(np.sqrt(np.square(by_band).mean())),
        "band": str(annual.band.values[most]),
        "brightness": float(np.exp(by_band[most])),
    }


def _flat(dn: Array) -> npt.NDArray[np.float32]:
    return dn.reshape(len(dn), -1).astype(np.float32)


def _words(table: pd.DataFrame, anchor: int) -> list[str]:
    """Return what a reader must look at, empty where all is well."""
    classes = table[(table["class"] != GROUND) & (table.pixels >= FEWEST)]
    first = classes[classes.year == anchor].set_index("class")["kept"]
    ratio = (classes.kept.astype(float) / classes["class"].map(first).astype(float).clip(lower=0.01)).dropna()
    changed = {year: float((own < _HALF).mean()) for year, own in ratio.groupby(classes.year)}
    known, said = ratio.to_dict(), []
    for at, row in table.iterrows():
        most_changed = changed.get(row.year, 0.0) > _HALF
        if row["class"] == GROUND:
            said.append(_ground_words(row, anchor, most_changed))
        elif at in known and row.year != anchor and not most_changed:
            others = ratio[(classes.year == row.year) & (classes["class"] != row["class"])]
            said.append(_class_words(row, anchor, float(known[at]), limit(others.tolist())))
        else:
            said.append("")
    return said


def _ground_words(row: pd.Series[Any], anchor: int, most_changed: bool) -> str:
    """Say what concerns all ground: where most classes changed, none of them can be called the changed one."""
    said = []
    if most_changed or row.distance > _MUCH_CHANGED:
        said.append(
            f"{row.year}: most of the ground is unlike {anchor} ({row.band} is {row.brightness:.1f} times as bright): "
            "a change of most classes cannot be told from weather or processing; look at its acquisitions first"
        )
    if 1 - row.kept > _MUCH_GROUND:
        said.append(
            f"{row.year}: {1 - row.kept:.0%} of the ground is unlike every training sample; its class is a guess there"
        )
    return ". ".join(said)


def _class_words(row: pd.Series[Any], anchor: int, ratio: float, least: float) -> str:
    if not ratio < least:
        return ""
    place = f"; look at ({row.x:.0f}, {row.y:.0f})" if row.x == row.x and row.x is not None else ""
    return (
        f"{row.year}: {row['class']} is no longer what it was in {anchor} ({row.band} is {row.brightness:.1f} times "
        f"as bright; {row.kept:.0%} of its pixels look as before or did not move): the class changed there, or the "
        f"year is unlike the others{place}"
    )
