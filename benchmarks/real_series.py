"""Multi-year against single-year models on real series with yearly labels, and what smoothers do to known change.

Usage: python benchmarks/real_series.py FOLDER [DATA], half an hour on one core. FOLDER keeps what was measured. The
tables replace those of docs/evidence.md. DATA holds ``multi_year``; ../shared/data by default.

Every pixel is a location, which is left out with a fifth of all locations and mapped by models of the others:

- ``single-year``: one model per year, on the series of this year;
- ``multi-year``: one model, on the series of all years;
- ``equal samples``: the same on as many series as a single-year model has on average, drawn at random;
- ``equal steps``: the multi-year model in as many steps as a single-year model takes (of the network only).

An index v is written as the digital number 1000 + 10 000 (v + 1), without any loss. The network normalises the bands of
every date, which of two bands leaves only the sign of their standardised difference; so it is trained on the indices,
and on the indices and their squares. Its shape is that of the demo. No series is spared for validation.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import dask
import numpy as np
import numpy.typing as npt
import pandas as pd
import xarray as xr
from page_tables import put

from mlc_dask.classifiers import LSTM, Classifier, RandomForest
from mlc_dask.data.legend import LandCoverClass, Legend
from mlc_dask.data.schema import CUBE_DIMS, year_coordinate
from mlc_dask.kernels.blocks import bootstrap
from mlc_dask.kernels.smoothers import RATES, hidden_markov, null_smoothers
from mlc_dask.stages.classification import ModelSet, Training, classify, fit_all
from mlc_dask.stages.drawing import Drawn, SampleSource, Split, collect
from mlc_dask.stages.settings import Gaps

Labels = npt.NDArray[np.uint8]
Counts = npt.NDArray[np.int64]

SEEDS = (0, 1, 2)
SINGLE, MULTI, FEWER, SHORT = "single-year", "multi-year", "equal samples", "equal steps"
CLASSIFIERS: Mapping[str, tuple[Classifier, bool]] = {
    "forest": (RandomForest(trees=100), False),
    "LSTM": (LSTM(layers=2, hidden=48, dropout=0.3, epochs=60, batch=32), False),
    "LSTM, squares": (LSTM(layers=2, hidden=48, dropout=0.3, epochs=60, batch=32), True),
}
"""Classifiers, and whether they are given the squares of the bands as well."""

RAW, BY_YEAR, STABLE = "none", "hmm-by-year-", "stable"
CURVES = ("forest", "LSTM")
DURATIONS = {"sustained": 99, "2 years": 2, "1 year": 1}
_FOLDS, _DATES, _LONGEST, _DRAWS = 5, 23, 8, 400
_YEAR_START = "09-01"
_HERE = Path(__file__).parent


class Place(NamedTuple):
    """Series of locations as a cube of one row, their classes (year, location), 0 = no series, and the legend."""

    cube: xr.Dataset
    truth: Labels
    legend: Legend


class Mapped(NamedTuple):
    """Labels (year, location), and probabilities (year, class, location) in per cent."""

    labels: Labels
    probability: Labels


def read(file: Path, bands: tuple[str, ...], classes: tuple[str, ...], years: tuple[int, int]) -> Place:
    """Read the series of some classes and years; a year is that in which the series ends."""
    rows = pd.read_parquet(file)
    rows["year"] = pd.to_datetime(rows["end_date"]).dt.year
    rows = rows[rows["label"].isin(classes) & rows["year"].between(*years)]
    at = np.arange(years[0], years[1] + 1)
    k, n = rows["year"].to_numpy() - years[0], pd.factorize(rows["location"], sort=True)[0]
    values = np.stack([rows[[f"{b}_{i:02}" for i in range(_DATES)]].to_numpy() for b in bands], axis=2)
    dn = np.zeros((len(at), n.max() + 1, _DATES, len(bands)), np.uint16)
    dn[k, n] = _digital(values)
    truth = np.zeros(dn.shape[:2], np.uint8)
    truth[k, n] = 1 + pd.Categorical(rows["label"], classes).codes
    first = np.array([f"{y - 1}-09-14" for y in at], "datetime64[D]")
    cube = xr.Dataset(
        {
            "reflectance": (CUBE_DIMS, dn.transpose(0, 2, 3, 1)[:, :, :, None]),
            "usable": (("year", "acquisition", "y", "x"), np.repeat((truth > 0)[:, None, None], _DATES, axis=1)),
        },
        coords={
            "year": year_coordinate(at.tolist(), _YEAR_START),
            "time": (("year", "acquisition"), (first[:, None] + 16 * np.arange(_DATES)).astype("datetime64[ns]")),
            "band": list(bands), "y": [0.0], "x": np.arange(truth.shape[1], dtype=float),
        },
    )  # fmt: skip
    return Place(cube, truth, Legend(tuple(LandCoverClass(i + 1, c, "#808080") for i, c in enumerate(classes))))


def _digital(values: npt.NDArray[Any]) -> npt.NDArray[np.uint16]:
    return np.round(1000 + 10_000 * (values.astype(np.float64) + 1)).astype(np.uint16)


def squared(place: Place) -> Place:
    """Add the square of every band as a band."""
    index = (place.cube.reflectance.astype(np.float64) - 1000) / 10_000 - 1
    squares = xr.apply_ufunc(_digital, index**2).assign_coords(band=[f"{b}²" for b in index.band.values])
    bands = xr.concat([place.cube.reflectance, squares], "band")
    rest = place.cube.drop_vars(["reflectance", "band"])
    return place._replace(cube=rest.assign(reflectance=bands.transpose(*CUBE_DIMS)))


def folds_of(truth: Labels, seed: int) -> npt.NDArray[np.int64]:
    """Fold (location,) of every location; every class is divided evenly."""
    random, fold = np.random.default_rng(seed), np.zeros(truth.shape[1], np.int64)
    for code in np.unique(truth[truth > 0]):
        own = random.permutation(np.flatnonzero((truth == code).any(axis=0)))
        fold[own] = np.arange(own.size) % _FOLDS
    return fold


def fitted(place: Place, at: npt.NDArray[np.int64], classifier: Classifier, seed: int) -> ModelSet:
    """Train all models on the series of the locations `at`."""
    years = place.cube.year.values.tolist()
    own = [at[place.truth[i, at] > 0] for i in range(len(years))]
    drawn = [
        Drawn(y, Split.TRAINING, place.truth[i, ids], ids, np.zeros(ids.size, np.uint8))
        for i, (y, ids) in enumerate(zip(years, own, strict=True))
    ]
    samples = collect(place.cube.chunk(), drawn, source=SampleSource.ANNUAL, gaps=Gaps("keep"), legend=place.legend)
    samples = samples.compute()
    size = samples.sizes["sample"]
    few = np.sort(np.random.default_rng(seed).choice(size, size // len(years), replace=False))
    multi = Training(samples, tuple(years), classifier, seed)
    part = samples.isel(sample=few)
    trainings = {MULTI: multi, FEWER: multi._replace(samples=part, years=tuple(np.unique(part.year.values).tolist()))}
    if isinstance(classifier, LSTM):
        trainings[SHORT] = multi._replace(classifier=replace(classifier, epochs=classifier.epochs // len(years)))
    return fit_all(trainings | {str(y): multi._replace(years=(y,)) for y in years})


def mapped(place: Place, classifier: Classifier, seed: int) -> dict[str, Mapped]:
    """Map every location by the models of all other folds."""
    fold, codes = folds_of(place.truth, seed), np.array(place.legend.codes)
    years = [str(y) for y in place.cube.year.values]
    found: dict[str, Mapped] = {}
    for left_out in range(_FOLDS):
        at = np.flatnonzero(fold == left_out)
        models = fitted(place, np.flatnonzero(fold != left_out), classifier, seed)
        series: dict[str, Any] = {name: m for name, m in models.items() if name not in years}
        for name, model in {SINGLE: {y: models[y] for y in years}, **series}.items():
            empty = Mapped(np.zeros_like(place.truth), np.zeros((len(years), codes.size, fold.size), np.uint8))
            own = found.setdefault(name, empty)
            maps = classify(place.cube.isel(x=at).chunk(), model, probabilities=True).compute()
            own.labels[:, at] = maps.label.values[:, 0]
            known = np.searchsorted(codes, maps["class"].values)
            own.probability[:, known[:, None], at] = maps.probability.values[:, :, 0]
    return found


def measure(folder: Path, name: str, place: Place, seed: int, classifiers: Any = CLASSIFIERS) -> dict[str, Any]:
    """Map by every classifier and model; what `folder` has is not made again."""
    found = {}
    for who, (classifier, squares) in classifiers.items():
        file = folder / f"{name}-{who.replace(', ', '-')}-{seed}.npz"
        if not file.exists():
            maps = mapped(squared(place) if squares else place, classifier, seed)
            np.savez_compressed(file, **{f"{m}|{i}": a for m, own in maps.items() for i, a in enumerate(own)})
            print(f"{name}: {who}, seed {seed} done", flush=True)
        stored = np.load(file)
        models = dict.fromkeys(key.split("|")[0] for key in stored)
        found[who] = {m: Mapped(stored[f"{m}|0"], stored[f"{m}|1"]) for m in models}
    return found


def counted(labels: Labels, truth: Labels) -> Counts:
    """Count (measure, 2, location): pairs that agree, triples A → B → A and years that are right, each of how many."""
    seen = labels > 0
    pairs, threes = seen[1:] & seen[:-1], seen[2:] & seen[1:-1] & seen[:-2]
    back = (labels[2:] == labels[:-2]) & (labels[1:-1] != labels[:-2]) & threes
    shares = [((labels[1:] == labels[:-1]) & pairs, pairs), (back, threes), ((labels == truth) & seen, seen)]
    return np.array([[part.sum(axis=0), whole.sum(axis=0)] for part, whole in shares])


def compared(found: list[dict[str, Any]], truth: Labels) -> str:
    """Shares of all models and their differences from the single-year models, in Markdown.

    The counts of a location are added over the seeds, and locations are resampled.
    """
    lines = [
        "| classifier | model | agreement | A → B → A | accuracy | between seeds |",
        "|---|---|---|---|---|---|",
    ]
    for who in found[0]:
        counts = {m: np.array([counted(own[who][m].labels, truth) for own in found]) for m in found[0][who]}
        base = counts[SINGLE].sum(axis=0)
        for model, by_seed in counts.items():
            own, cells = by_seed.sum(axis=0), []
            for i in range(3):
                both = np.stack([own[i], base[i]])
                share = bootstrap(both[:, 0], both[:, 1], [[1, 0], [1, -1]], seed=0)
                plain = f"{share.value[0]:.3f} [{share.low[0]:.3f}, {share.high[0]:.3f}]"
                gap = f"; {share.value[1]:+.3f} [{share.low[1]:+.3f}, {share.high[1]:+.3f}]"
                cells.append(plain if model == SINGLE else plain + gap)
            alone = by_seed[:, :, 0].sum(axis=-1) / by_seed[:, :, 1].sum(axis=-1)
            lines.append(f"| {who} | {model} | {' | '.join(cells)} | {np.ptp(alone, axis=0).max():.3f} |")
    return "\n".join(lines)


class Splices(NamedTuple):
    """Series of two locations: location and year of every place (year, n), -1 beyond the end, and the onset (n,)."""

    location: npt.NDArray[np.int64]
    year: npt.NDArray[np.int64]
    onset: npt.NDArray[np.int64]


def spliced(truth: Labels, fold: npt.NDArray[np.int64], lasting: int, seed: int, draws: int = _DRAWS) -> Splices:
    """Draw series of at most 8 years of a location of class 1, which are those of a location of class 2 for a while.

    Both locations are of one fold, so the same models map them. Every window has four years or more. A year in the
    middle is the onset: at least one year of class 1 comes before it and, unless the change is sustained, after it.
    """
    random = np.random.default_rng(seed)
    location, year = np.full((2, _LONGEST, draws), -1)
    onset = np.zeros(draws, np.int64)
    kinds = [np.flatnonzero((truth == code).any(axis=0)) for code in (1, 2)]
    pairs = [
        (a, b, both)
        for a in kinds[0]
        for b in kinds[1][fold[kinds[1]] == fold[a]]
        if len(both := np.flatnonzero((truth[:, a] > 0) & (truth[:, b] > 0))) >= 4
    ]
    for i, j in enumerate(random.integers(len(pairs), size=draws)):
        first, second, both = pairs[j]
        k = min(len(both), _LONGEST)
        start = int(random.integers(len(both) - k + 1))
        onset[i] = random.integers(1, k if lasting > k else k - lasting)
        year[:k, i], location[:k, i] = both[start : start + k], first
        location[onset[i] : min(k, onset[i] + lasting), i] = second
    return Splices(location, year, onset)


def along(series: Labels, where: Splices) -> Labels:
    """Take (year, …, n) of spliced series from (year, …, location); 0 beyond the end."""
    taken = np.moveaxis(series, -1, 1)[where.year, where.location]
    taken[where.year < 0] = 0
    return np.moveaxis(taken, 1, -1)


def judged(labels: Labels, truth: Labels, onset: npt.NDArray[np.int64]) -> tuple[float, float, float]:
    """Share of onsets shown in their year and within a year, and other changes per series.

    A change is another one if no true change is within a year of it.
    """
    seen = (truth[1:] > 0) & (truth[:-1] > 0)
    turn = np.pad((labels[:-1] == 1) & (labels[1:] == 2) & seen, ((1, 1), (0, 0)))
    near = [turn[onset + d, np.arange(onset.size)] for d in (-1, 0, 1)]
    true, shown = ((m[1:] != m[:-1]) & seen for m in (truth, labels))
    wide = np.pad(true, ((1, 1), (0, 0)))
    spurious = shown & ~(wide[:-2] | wide[1:-1] | wide[2:])
    return float(near[1].mean()), float(np.any(near, axis=0).mean()), float(spurious.sum(axis=0).mean())


def stable(truth: Labels) -> Splices:
    """Every series from its own first year on."""
    locations = np.arange(truth.shape[1])
    order = np.argsort(truth == 0, axis=0, kind="stable")
    gone = np.take_along_axis(truth, order, axis=0) == 0
    year = np.where(gone, -1, order)
    return Splices(np.where(gone, -1, locations), year, np.zeros(truth.shape[1], np.int64))


def versions(labels: Labels, probability: Labels, truth: Labels) -> dict[str, Labels]:
    """Labels (year, n) as they are and by every smoother; the hidden Markov model decodes whole series, or each year.

    `truth` (year, location) gives the prior.
    """
    codes = np.unique(truth[truth > 0])
    prior = np.bincount(truth.ravel())[codes] / (truth > 0).sum()
    by_year = {f"{BY_YEAR}{rate}": hidden_markov(probability, prior, codes, rate, decode="posterior") for rate in RATES}
    return {RAW: labels, **null_smoothers(labels, probability, prior, codes), **by_year}


def smoothed(found: list[dict[str, Any]], truth: Labels, draws: int = _DRAWS) -> pd.DataFrame:
    """Judge raw and smoothed maps: a row per classifier, model, smoother and seed."""
    rows = []
    for seed, own in zip(SEEDS, found, strict=False):
        fold = folds_of(truth, seed)
        places = {name: spliced(truth, fold, last, seed, draws) for name, last in DURATIONS.items()}
        for who, model in ((w, m) for w in own for m in (SINGLE, MULTI)):
            cells: dict[str, dict[str, float]] = {}
            for name, where in {**places, STABLE: stable(truth)}.items():
                labels, probability = (along(series, where) for series in own[who][model])
                true = along(truth, where)
                for smoother, m in versions(labels, probability, truth).items():
                    cells.setdefault(smoother, {}).update(figures(name, m, true, where.onset))
            rows += [{"classifier": who, "model": model, "smoother": s, "seed": seed, **c} for s, c in cells.items()]
    return pd.DataFrame(rows)


def figures(name: str, labels: Labels, truth: Labels, onset: npt.NDArray[np.int64]) -> dict[str, float]:
    """Figures of one kind of series, by column of the table."""
    if name == STABLE:
        return {STABLE: float((labels == truth)[truth > 0].mean())}
    return dict(zip(_keys(name), judged(labels, truth, onset), strict=True))


def _keys(duration: str) -> tuple[str, str, str]:
    return f"{duration} exact", f"{duration} near", f"{duration} spurious"


def splice_table(rows: pd.DataFrame) -> str:
    """Means over the seeds of maps without smoother, and with each of four, in Markdown.

    The last column is the largest difference between two seeds of any figure of the row.
    """
    lines = [
        f"| classifier | maps | {' | '.join(DURATIONS)} | accuracy, stable truth | between seeds |",
        "|---|---|---|---|---|---|---|",
    ]
    for (who, model), own in rows.groupby(["classifier", "model"], sort=False):
        for smoother in (RAW, "hmm-0.05", f"{BY_YEAR}0.05", "mode", "last-year"):
            seeds = own[own.smoother == smoother][_columns()]
            mean, spread = seeds.mean(), (seeds.max() - seeds.min()).max()
            maps = model if smoother == RAW else f"{model} + {smoother}"
            cells = [_cell(mean, name) for name in DURATIONS]
            lines.append(f"| {who} | {maps} | {' | '.join(cells)} | {mean[STABLE]:.3f} | {spread:.2f} |")
    return "\n".join(lines)


def curve_table(rows: pd.DataFrame) -> str:
    """Show the operating curve of the hidden Markov model, for every rate of change that it is told, in Markdown."""
    shown = ("sustained", "1 year")
    heads = [f"{model}, {name}" for model in (SINGLE, MULTI) for name in (*shown, "accuracy")]
    lines = [f"| classifier | smoother | {' | '.join(heads)} |", "|---" * 8 + "|"]
    for who in CURVES:
        for smoother in (RAW, *(f"{kind}{rate}" for kind in ("hmm-", BY_YEAR) for rate in RATES)):
            own = rows[(rows.classifier == who) & (rows.smoother == smoother)]
            cells = []
            for model in (SINGLE, MULTI):
                mean = own[own.model == model][_columns()].mean()
                cells += [*(_cell(mean, name) for name in shown), f"{mean[STABLE]:.3f}"]
            lines.append(f"| {who} | {smoother} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _columns() -> list[str]:
    return [*(key for name in DURATIONS for key in _keys(name)), STABLE]


def _cell(mean: pd.Series, duration: str) -> str:
    return " / ".join(f"{mean[key]:.2f}" for key in _keys(duration))


def main(folder: Path, data: Path) -> None:
    """Measure both sets with three seeds, and replace the tables of the page."""
    folder.mkdir(parents=True, exist_ok=True)
    cerrado = read(data / "cerrado_2classes_2000_2014.parquet", ("NDVI", "EVI"), ("Cerrado", "Pasture"), (2001, 2015))
    forests = read(
        data / "mato_grosso_9classes_2000_2015.parquet", ("NDVI", "EVI", "NIR", "MIR"),
        ("Cerrado", "Forest", "Pasture"), (2008, 2013),
    )  # fmt: skip
    alone = {who: c for who, c in CLASSIFIERS.items() if not c[1]}
    with dask.config.set(scheduler="synchronous"):
        found = [measure(folder, "cerrado", cerrado, seed) for seed in SEEDS]
        others = [measure(folder, "mato-grosso", forests, seed, alone) for seed in SEEDS]
    rows = smoothed(found, cerrado.truth)
    rows.to_csv(folder / "spliced.csv", index=False)
    put(
        "real_series",
        {
            "cerrado": compared(found, cerrado.truth),
            "mato-grosso": compared(others, forests.truth),
            "spliced": splice_table(rows),
            "curve": curve_table(rows),
        },
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]) if len(sys.argv) > 2 else _HERE.parents[1] / "shared/data/multi_year")
