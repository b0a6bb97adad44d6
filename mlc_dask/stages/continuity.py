"""Whether the classes of the old map are still themselves in every year (method section 5)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import xarray as xr

from mlc_dask import lazy
from mlc_dask.data.legend import Legend
from mlc_dask.data.schema import ACQUISITION, BAND, WITNESS, WITNESS_YEAR, YEAR, X, Y
from mlc_dask.kernels.clusters import ClassClusters, evenly
from mlc_dask.kernels.continuity import DOUBTED, Continuity, Verdict, common_offset, continuity
from mlc_dask.kernels.gaps import fill
from mlc_dask.stages import drawing as sampling
from mlc_dask.stages.drawing import Pool
from mlc_dask.stages.features import Series

if TYPE_CHECKING:
    from mlc_dask.classifiers import Model

Array = npt.NDArray[Any]
Clusters = dict[int, ClassClusters]

_PER_CLASS = 300
_GROUND = 1_500
_ARRAYS = {"center": np.float32, "scale": np.float32, "centroids": np.float32, "sizes": np.int64, "seen": np.bool_}


@dataclass(frozen=True, eq=False)
class Panel:
    """Pixels of every class in the old map's year, and some of all ground, looked at in all years.

    `label` (n,) uint8, 0 for the pixels of all ground; `id` (n,) global pixel ids, ascending; by year `dn` (n, T, B)
    uint16 and `usable` (n, T) bool.
    """

    label: npt.NDArray[np.uint8]
    id: npt.NDArray[np.int64]
    dn: Mapping[int, npt.NDArray[np.uint16]]
    usable: Mapping[int, npt.NDArray[np.bool_]]

    @property
    def classes(self) -> npt.NDArray[np.intp]:
        """Positions of the pixels that stand for a class."""
        return np.flatnonzero(self.label)

    def to_variables(self, cube: xr.Dataset) -> dict[str, Any]:
        """Variables of a sample set along ``witness``."""
        rows, columns = np.divmod(self.id, cube.sizes[X])
        dims = (WITNESS_YEAR, WITNESS, ACQUISITION)
        return {
            WITNESS_YEAR: list(self.dn),
            "witness_dn": ((*dims, BAND), np.stack(list(self.dn.values()))),
            "witness_usable": (dims, np.stack(list(self.usable.values()))),
            "witness_label": (WITNESS, self.label),
            "witness_y": (WITNESS, cube[Y].values[rows]),
            "witness_x": (WITNESS, cube[X].values[columns]),
        }


def anchor_year(product: xr.DataArray, years: list[int]) -> int:
    """Year of the series that is nearest to the old map's; the first one where the map's year is unknown."""
    year = product.attrs.get("year")
    return min(years, key=lambda y: (abs(y - year), y)) if year else years[0]


def panel_of(pool: Pool, pixels: int, seed: int) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]]:
    """Labels and ids of some hundred pixels per class, spread over the area, and of random ones of all `pixels`."""
    label, ids = pool.candidates.label, pool.candidates.id.astype(np.int64)
    chosen = []
    for code in np.unique(label).tolist():
        members = np.flatnonzero(label == code)[np.argsort(ids[label == code], kind="stable")]
        chosen.append(evenly(members, _PER_CLASS))
    at = np.concatenate([*chosen, np.zeros(0, np.intp)])
    ground = np.random.default_rng(seed).choice(pixels, min(_GROUND, pixels), replace=False)
    both, codes = np.concatenate([ids[at], ground]), np.concatenate([label[at], np.zeros(len(ground), np.uint8)])
    order = np.argsort(both, kind="stable")
    return codes[order], both[order]


def look(cube: xr.Dataset, years: list[int], ids: Array) -> dict[int, Any]:
    """Lazy series of the pixels in every year: DN and usable."""
    found = {}
    for year in years:
        dn, usable = sampling.series(cube, year, ids)
        found[year] = (dn.data, usable.data)
    return found


def compare_years(
    clusters: Mapping[int, Clusters],
    features: Mapping[int, npt.NDArray[np.float32]],
    labels: npt.NDArray[np.uint8],
    anchor: int,
) -> dict[int, dict[int, Continuity]]:
    """Compare every class in every other year with the class in the year `anchor`.

    `features` (n, F) by year and `labels` (n,) are those of the panel.
    """
    offsets = {y: common_offset(features[anchor], own, labels) for y, own in features.items() if y != anchor}
    known = clusters[anchor]
    return {
        y: {code: continuity(own, code, known, offsets[y]) for code, own in clusters[y].items() if code in known}
        for y in offsets
    }


def anchored(clusters: Mapping[int, Clusters], found: Mapping[int, Mapping[int, Continuity]]) -> dict[int, Clusters]:
    """Return the clusters with what continues their class as the kept ones.

    A lost class has no clusters in its year, unless fewer than two classes would be left.
    """
    result = {}
    for year, own in clusters.items():
        verdicts = found.get(year, {})
        kept = {c: replace(m, kept=verdicts[c].kept) if c in verdicts else m for c, m in own.items()}
        left = {c: m for c, m in kept.items() if c not in verdicts or verdicts[c].verdict is not Verdict.LOST}
        result[year] = left if len(left) > 1 else kept
    return result


def in_words(found: Mapping[int, Mapping[int, Continuity]], legend: Legend, anchor: int) -> list[str]:
    """One note per class and year whose identity is in doubt."""
    notes = []
    for year, verdicts in found.items():
        for code, own in verdicts.items():
            name = legend.names[code]
            if own.verdict is Verdict.SWAPPED:
                notes.append(
                    f"{year}: the largest cluster of {name} is not the {name} of {anchor}; cluster {1 + own.kept[0]}, "
                    "which continues it, is kept: most of the class may have changed"
                )
            elif own.verdict is Verdict.LOST:
                notes.append(
                    f"{year}: no cluster of {name} continues the {name} of {anchor}; the largest one is nearer to "
                    f"{legend.names[own.other]}: {name} gives no samples of {year}, and {year} has no vote on it"
                )
    return notes


def with_witnesses(
    samples: xr.Dataset,
    cube: xr.Dataset,
    panel: Panel,
    found: Mapping[int, Mapping[int, Continuity]],
    clusters: Mapping[int, Clusters],
    anchor: int,
) -> xr.Dataset:
    """Return `samples` with the panel's variables along ``witness`` and the attributes ``anchor`` and ``continuity``.

    ``continuity`` has one row per class and year: its verdict, distances, and, where the class was swapped, the
    clusters that tell its pixels from those that changed.
    """
    rows = [
        {
            "year": year,
            "code": code,
            **asdict(own),
            "kept": list(own.kept),
            "other_distance": own.other_distance if np.isfinite(own.other_distance) else None,
            "clusters": _to_lists(clusters[year][code]) if own.verdict is Verdict.SWAPPED else None,
        }
        for year, verdicts in found.items()
        for code, own in verdicts.items()
    ]
    return samples.assign(panel.to_variables(cube)).assign_attrs(anchor=anchor, continuity=rows)


def doubts(samples: xr.Dataset | None) -> dict[int, dict[int, ClassClusters | None]]:
    """Classes by code that may have changed as a whole in a year; with the clusters that tell, None where none do."""
    result: dict[int, dict[int, ClassClusters | None]] = {}
    for row in samples.attrs.get("continuity", ()) if samples is not None else ():
        if row["verdict"] in DOUBTED:
            result.setdefault(row["year"], {})[row["code"]] = row["clusters"] and _from_lists(row["clusters"])
    return result


def still(
    cube: xr.Dataset,
    labels: xr.DataArray,
    year: int,
    doubted: Mapping[int, ClassClusters | None],
    reading: Series,
    model: Model | None,
) -> xr.DataArray:
    """Labels (y, x) of one year without the pixels of doubted classes that do not continue their class.

    A pixel continues it in a kept cluster, and where `model`, which was trained in the old map's year, calls it so.
    """
    one = cube.sel({YEAR: year}, drop=True)
    return lazy.map_pixels(
        _keep_still, one.reflectance, one.usable, labels,
        layers=("label",), name=f"still-{year}", parameter=(reading, dict(doubted), model),
    )["label"]  # fmt: skip


def _keep_still(
    dn: Array, usable: Array, labels: Array, parameter: tuple[Series, Mapping[int, Any], Model | None]
) -> Array:
    reading, doubted, model = parameter
    t, b = dn.shape[:2]
    dn, usable, flat = dn.reshape(t, b, -1), usable.reshape(t, -1), labels.reshape(-1)
    kept = np.where(np.isin(flat, list(doubted)), 0, flat).astype(np.uint8)
    swapped = {code: own for code, own in doubted.items() if own is not None}
    for code, at, _ in reading.in_kept_clusters(dn, usable, flat, swapped):
        if model is None or not at.size:
            kept[at] = code
        else:
            kept[at[model.predict(fill(dn, usable, reading.days, reading.gaps, at))[0] == code]] = code
    return kept.reshape(1, *labels.shape)


def _to_lists(clusters: ClassClusters) -> dict[str, Any]:
    return {name: v.tolist() if isinstance(v, np.ndarray) else v for name, v in asdict(clusters).items()}


def _from_lists(form: Mapping[str, Any]) -> ClassClusters:
    arrays: dict[str, Any] = {name: np.asarray(form[name], dtype) for name, dtype in _ARRAYS.items()}
    return ClassClusters(**{**form, **arrays, "kept": tuple(form["kept"])})
