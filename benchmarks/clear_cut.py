"""Whether the maps show that most of a class changed in one year: felled, dried, built over; with and without anchor.

Usage: python benchmarks/clear_cut.py FOLDER [DATA], a quarter of an hour on one core. FOLDER keeps what was measured.
The tables replace those of docs/evidence.md. DATA holds ``sites/meuse_fr_2016_2018``; ../shared/data by default.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import dask
import numpy as np
import numpy.typing as npt
import pandas as pd
import rasterio
import rioxarray  # noqa: F401 (the accessor .rio)
import xarray as xr
from page_tables import put
from rasterio.transform import from_origin

import mlc_dask as mlc
from mlc_dask.classifiers import RandomForest
from mlc_dask.config import load_config
from mlc_dask.data.legend import DEFAULT_LEGEND
from mlc_dask.data.schema import CUBE_DIMS, DN_OFFSET
from mlc_dask.pipeline.inputs import Given
from mlc_dask.stages.drift import watch_drift
from mlc_dask.stages.settings import Clustering
from mlc_dask.worlds import World
from mlc_dask.worlds.changes import UPHEAVALS
from mlc_dask.worlds.covers import BANDS
from mlc_dask.worlds.landscape import Landscape, make_landscape
from mlc_dask.worlds.product import CELL, corine
from mlc_dask.worlds.scenes import CRS, FINE, LEFT, TOP, Scene, scenes
from mlc_dask.worlds.spectra import Ground

ANCHORS: tuple[Literal["none", "product-year"], ...] = ("none", "product-year")
KINDS = (*UPHEAVALS, "")
_SIZE, _DATES, _TREES = 256, 10, 30
_UNUSABLE = (0, 1, 3, 8, 9)
SEEDS = range(16, 24)
"""Worlds of the tables; the method was tuned on worlds 0 to 15."""


class Place(NamedTuple):
    """Cube, old map and truth of a world."""

    cube: xr.Dataset
    product: xr.DataArray
    land: Landscape


def place_of(kind: str, seed: int, folder: Path, size: int = _SIZE) -> Place:
    """Make a world in which most of a class changes between its first and its second year; with ``""``, none does."""
    world = World(size=size, seed=seed, upheaval=kind, acquisitions_per_year=2 * _DATES, variety=0.3)
    land = make_landscape(world)
    ground = Ground(world, land)
    cube = _cube([list(scenes(world, i, ground)) for i in range(len(world.years))], world)
    codes, path = corine(world, land), folder / f"{kind or 'nothing'}-{seed}.tif"
    edge = CELL * 10
    with rasterio.open(
        path, "w", driver="GTiff", width=codes.shape[1], height=codes.shape[0], count=1, dtype="uint8", crs=CRS,
        transform=from_origin(LEFT, TOP, edge, edge), nodata=0,
    ) as file:  # fmt: skip
        file.write(codes, 1)
    return Place(cube, mlc.open_product(path, like=cube, year=world.years[0]).compute(), land)


def _cube(by_year: Sequence[Sequence[Scene]], world: World) -> xr.Dataset:
    """Cube of the dates that are clearest in their cloudiest year; the worlds pair their dates."""
    cloudy = [[np.isin(s.scl, _UNUSABLE).mean() for s in row] for row in by_year]
    chosen = np.sort(np.argsort(np.max(cloudy, axis=0), kind="stable")[:_DATES])
    rows = [[row[i] for i in chosen] for row in by_year]
    dn = np.array([[[_on_grid(s.dn[b], b) for b in BANDS] for s in row] for row in rows])
    clear = np.array([[~np.isin(s.scl, _UNUSABLE).repeat(2, 0).repeat(2, 1) for s in row] for row in rows])
    along = 10 * np.arange(world.size) + 5.0
    cube = xr.Dataset(
        {
            "reflectance": (CUBE_DIMS, np.where(dn > 0, dn + DN_OFFSET, 0).astype(np.uint16)),
            "usable": (("year", "acquisition", "y", "x"), clear & (dn > 0).all(axis=2)),
        },
        coords={
            "year": list(world.years),
            "time": (("year", "acquisition"), np.array([[s.strip for s in row] for row in rows], "datetime64[ns]")),
            "band": list(BANDS),
            "y": TOP - along,
            "x": LEFT + along,
        },
    )
    return cube.rio.write_crs(CRS)


def _on_grid(plane: npt.NDArray[Any], band: str) -> npt.NDArray[Any]:
    return plane if band in FINE else plane.repeat(2, 0).repeat(2, 1)


class Mapped(NamedTuple):
    """Annual samples, samples of the unchanged areas, and multi-year maps (year, y, x)."""

    annual: xr.Dataset
    samples: xr.Dataset
    maps: npt.NDArray[np.uint8]


class Scale(NamedTuple):
    """How many samples there are, the edge of a square that separates training and validation, and the gaps."""

    size: int
    block: int
    gaps: mlc.Gaps


WORLDS = Scale(2_000, 32, mlc.Gaps())
MEUSE = Scale(1_000, 8, mlc.Gaps(min_valid=3))


def mapped(
    cube: xr.Dataset, product: xr.DataArray, anchor: Literal["none", "product-year"], scale: Scale, seed: int = 0
) -> Mapped:
    """Go through the method, with one forest in place of the LSTM."""
    size, block, gaps = scale
    clustering = Clustering(pixels=2_000, max_clusters=5, anchor=anchor)
    annual = mlc.select_reliable_samples(
        cube, product, size=size, min_per_class=100, seed=seed, gaps=gaps, clustering=clustering
    )
    forests = mlc.fit_per_year(annual, classifier=RandomForest(trees=_TREES), seed=seed)
    unchanged = mlc.unchanged_areas(mlc.classify(cube, forests), product, annual)
    samples = mlc.sample_unchanged(
        cube,
        product,
        unchanged,
        annual,
        train=size,
        validation=100,
        min_per_class=60,
        block=block,
        seed=seed,
        gaps=gaps,
    )
    model = mlc.fit(samples, classifier=RandomForest(trees=_TREES), seed=seed)
    maps = mlc.classify(cube, model).label.values
    return Mapped(annual, samples, maps)


def judged(place: Place, found: Mapped, kind: str) -> dict[str, float]:
    """Recall of the change, samples that lie in it, and changes elsewhere, between the first and the second year."""
    then, now = place.land.truth(0), place.land.truth(1)
    changed = found.maps[0] != found.maps[1]
    row = {"false": float(changed[then == now].mean()), "recall": np.nan, "inside": np.nan}
    if kind:
        code = DEFAULT_LEGEND.code(UPHEAVALS[kind][0])
        gone, own = (then == code) & (now != code), found.samples
        after = (own.label.values == code) & (own.year.values > int(place.cube.year[0]))
        inside = gone[own.row.values[after], own.column.values[after]]
        row |= {"recall": float(changed[gone].mean()), "inside": float(inside.mean()) if inside.size else 0.0}
    return row


def measure(folder: Path, seeds: Iterable[int]) -> pd.DataFrame:
    """One row per world, kind, anchor and seed of the training; what `folder` has is not measured again."""
    rows = []
    for world in seeds:
        for kind in KINDS:
            file = folder / f"{kind or 'nothing'}-{world}.csv"
            if not file.exists():
                place = place_of(kind, world, folder)
                runs = [("none", 0), ("product-year", 0), *([] if kind else [("none", 1)])]
                own = [
                    {"world": world, "kind": kind or "nothing", "anchor": anchor, "seed": seed}
                    | judged(place, mapped(place.cube, place.product, anchor, WORLDS, seed), kind)
                    for anchor, seed in runs
                ]
                pd.DataFrame(own).to_csv(file, index=False)
                print(f"{kind or 'nothing'} {world} done", flush=True)
            rows.append(pd.read_csv(file))
    return pd.concat(rows)


def table(rows: pd.DataFrame) -> str:
    """Means over the worlds and standard errors of differences, in Markdown.

    The noise floor is the mean difference between two seeds of the training where nothing happens.
    """
    false = rows.pivot_table(index=["kind", "world"], columns=["anchor", "seed"], values="false", sort=False)
    floor = (false["none", 1] - false["none", 0]).loc["nothing"].abs().mean()
    lines = [
        "| what happens | anchor | recall of the change | lowest, highest | samples in the change | changes elsewhere "
        f"| more than without (noise floor {floor:.3f}) |",
        "|---|---|---|---|---|---|---|",
    ]
    for kind, own in rows[rows.seed == 0].groupby("kind", sort=False):
        more = (false["product-year", 0] - false["none", 0]).loc[kind]
        for anchor in ANCHORS:
            one = own[own.anchor == anchor]
            recall, inside = one.recall, one.inside.mean()
            found = f"{recall.mean():.2f} | {recall.min():.2f}, {recall.max():.2f} | {inside:.2f}"
            cost = f"{more.mean():+.3f} ± {more.sem():.3f}" if anchor != "none" else "–"
            told = found if kind != "nothing" else "– | – | –"
            lines.append(f"| {kind} | {anchor} | {told} | {one.false.mean():.3f} | {cost} |")
    return "\n".join(lines)


def meuse(folder: Path, data: Path) -> str:
    """Share of the old map's conifers that every year's map calls so, and the drift of the class, in Markdown."""
    template = Path(__file__).parent.parent / "docs" / "sites" / "meuse.toml"
    config = folder / "meuse.toml"
    config.write_text(
        template.read_text(encoding="utf-8")
        .replace("{data}", str(data.resolve()))
        .replace('"../../real-sites/meuse"', '"meuse"')
        .replace('"meuse.csv"', f'"{template.with_name("meuse.csv")}"'),
        encoding="utf-8",
    )
    made = {e.step: e.artifact for e in mlc.run(load_config(config), until="product", scheduler="current")}
    cube, product = made["cube"].open().compute(), made["product"].open().compute()
    lines = [
        "| anchor | year | the map keeps | the judge keeps | band that changed most | verdict |",
        "|---|---|---|---|---|---|",
    ]
    legend = Given(load_config(config)).legend
    code = legend.code("Conifers")
    for anchor in ANCHORS:
        found = mapped(cube, product, anchor, MEUSE)
        drift = watch_drift(found.annual, legend=legend)
        for i, row in enumerate(drift[drift["class"] == "Conifers"].itertuples()):
            share = (found.maps[i] == code)[product.values == code].mean()
            lines.append(
                f"| {anchor} | {row.year} | {share:.3f} | {row.kept:.2f} | {row.band} × {row.brightness:.2f} "
                f"| {row.verdict or '–'} |"
            )
    return "\n".join(lines)


def main(folder: Path, data: Path) -> None:
    """Measure eight worlds of every kind and the forest of the Meuse, and replace the tables of the page."""
    folder.mkdir(parents=True, exist_ok=True)
    with dask.config.set(scheduler="synchronous"):
        found = {"worlds": table(measure(folder, SEEDS)), "meuse": meuse(folder, data)}
    put("clear_cut", found)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]) if len(sys.argv) > 2 else Path(__file__).parents[2] / "shared" / "data")
