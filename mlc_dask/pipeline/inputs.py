"""The inputs of a run: sources, files and settings of the configuration, checked before any work starts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr

from mlc_dask.config import Config, Product, load_config
from mlc_dask.data.acquisitions import Acquisition, Catalogue, Source, counted
from mlc_dask.data.errors import InputError, did_you_mean, existing
from mlc_dask.data.layers import Series
from mlc_dask.data.legend import Crosswalk, Legend, legend_of_crosswalk
from mlc_dask.data.plausibility import Implausible, implausible_for
from mlc_dask.data.sensors import SENSORS, Sensor
from mlc_dask.data.settings import of_kind
from mlc_dask.data.years import CALENDAR, year_label, year_of
from mlc_dask.io.cubes import CHUNK
from mlc_dask.io.old_map import References, check_reference, open_product, read_crosswalk
from mlc_dask.io.sources import SOURCES
from mlc_dask.runs.artifacts import Input
from mlc_dask.runs.folder import RunFolder
from mlc_dask.show.report.quicklook import quicklook_png
from mlc_dask.stages.choice import check_names
from mlc_dask.stages.drawing import admitted
from mlc_dask.stages.multiyear_training import check_split
from mlc_dask.storage.durable import atomic_write, canonical, files_fingerprint, sha256

PATCH_STEP = CHUNK // 2
"""The edge of a patch must be a multiple of this, or every chunk would be read several times."""


SUSPECTS = "suspects"
"""Folder of the output with pictures of acquisitions that the radiometric check refuses."""

_STRIP = 512
"""Rows of the old map that are judged at once, which limits the memory of a plan."""

_PICTURED = 400
"""Pixels along each side of such a picture at most."""


class Given:
    """The inputs of one place. Each is read once, however often the pipeline and the checks ask for it.

    Parameters
    ----------
    config
        Configuration of a single place; where there are several tiles, that of one tile.

    Attributes
    ----------
    known
        Catalogue of the source, from the record of a run or from the source itself; None before either was read.
    """

    def __init__(self, config: Config) -> None:
        self.config = config
        self.known: Catalogue | None = None

    @cached_property
    def source(self) -> Input:
        """Source of acquisitions."""
        return given_source(self.config)

    @cached_property
    def product(self) -> Input:
        """File of the old map."""
        return given_product(self.config)

    @cached_property
    def truth(self) -> Input:
        """Reference file of every year that has one."""
        return given_truth(self.config)

    def references(self) -> Iterable[Path]:
        """Return the reference files, which workers read."""
        files: References = self.truth.value
        return files.values()

    @cached_property
    def legend(self) -> Legend:
        """Legend of the maps."""
        return legend_for(self.config)

    @cached_property
    def implausible(self) -> Implausible | None:
        """Implausible changes of class; None where neither the configuration nor the package has a table of them."""
        table = self.config.evaluation.implausible
        return Implausible.from_csv(table, self.legend) if table else implausible_for(self.legend)

    @cached_property
    def crosswalk(self) -> Crosswalk:
        """Crosswalk from the codes of the old map to the legend."""
        return read_crosswalk(product_of(self.config).crosswalk, self.legend)

    @property
    def sensor(self) -> Sensor:
        """Sensor that the bands belong to."""
        return sensor_for(self.config)

    @property
    def product_year(self) -> int | None:
        """Year that the old map shows, where the configuration says so."""
        return product_of(self.config).year

    @property
    def acquisitions(self) -> dict[str, Any]:
        """Settings of the choice of acquisitions."""
        own = self.config.acquisitions
        names = {"leave_out": sorted(own.leave_out)}
        return {"years": own.years, "rules": own.rules, "max_tile_cloud": own.max_tile_cloud, **names}

    @property
    def years(self) -> dict[str, Any]:
        """Years to map and, unless they are calendar years, the day on which they start."""
        own = self.config.acquisitions
        # Calendar years are not stated, so that results of versions without this setting stay valid.
        return {"years": own.years, **({} if own.year_start == CALENDAR else {"year_start": own.year_start})}

    def pictured(self, acquisition: Acquisition) -> Path:
        """Write a small picture of an acquisition into the output, and return its path."""
        source, grid = self.source.value, self.catalogue.grid.coarsened(_PICTURED)
        dn, usable = source.read(acquisition, grid, slice(0, grid.height), slice(0, grid.width))
        path = self.config.output / SUSPECTS / f"{acquisition.id}.png"
        atomic_write(path, quicklook_png(dn, source.bands, usable))
        return path

    @property
    def annual_training(self) -> dict[str, Any]:
        """Settings of the annual training sets."""
        own = self.config.annual_training
        drawn = {"size": own.size, "min_per_class": own.min_per_class, "clustering": own.clustering}
        return {**drawn, **self._sampling, "sensor": self.sensor}

    @property
    def multiyear_training(self) -> dict[str, Any]:
        """Settings of the multi-year training set."""
        sampling = {**self._sampling, "sensor": self.sensor}
        return {**asdict(self.config.multiyear_training), **sampling}

    def smoother(self, series: Series) -> dict[str, Any]:
        """Return the settings of a smoothed series: the table of the configuration with its smoother's name."""
        section = getattr(self.config, series.smoother, None)
        return asdict(section) if section else {}

    @property
    def _sampling(self) -> dict[str, Any]:
        return {"seed": self.config.seed, "gaps": self.config.gaps}

    @property
    def catalogue(self) -> Catalogue:
        """Catalogue of the source; the source is asked only where no run has recorded it."""
        if self.known is None:
            self.known = self.source.value.catalogue(**self.years)
        return self.known


def as_config(config: str | Path | Config) -> Config:
    """Return a configuration, read from its file where a path is given."""
    return config if isinstance(config, Config) else load_config(config)


def given_places(config: Config) -> dict[str, Given]:
    """Return the inputs of every tile by name; a single place has the name ``""``."""
    return {tile: Given(config.of_tile(tile)) for tile in config.tiles} if config.tiles else {"": Given(config)}


def check_inputs(given: Given) -> Mapping[int, float]:
    """Check every file's header, the codes of the old map and the reference before any work starts.

    Returns
    -------
    Share 0..1 of the area by legend code of the old map; 0 is excluded or without data.

    Raises
    ------
    InputError
        With the first error: the file, band or value, and the fix.
    """
    check_source(given)
    config, _ = given.config, given.implausible  # a fault in that table must show before any work
    legend, like = given.legend, xr.Dataset(coords=given.catalogue.grid.coords())
    path = product_of(config).path
    product = open_product(path, like=like, crosswalk=given.crosswalk, legend=legend)
    shares = _shares(product)
    present = [code for code in shares if code]
    if len(present) < 2:
        raise InputError(f"{path}: the area has a single class, {legend.names[present[0]]}; choose a larger area")
    _check_samples(given, product)
    seen = [check_reference(reference, like=like, legend=legend) for reference in given.references()]
    if seen and not any(seen):
        pattern = config.evaluation.truth
        raise InputError(f"evaluation.truth = {pattern}: no file has a class in the area; correct their place or codes")
    return shares


def _check_samples(given: Given, product: xr.DataArray) -> None:
    """Refuse quotas that leave fewer than two classes with a sample, and squares that leave none for training."""
    seed, own = given.config.seed, given.config.multiyear_training
    drawn = _admitted_classes(product.values, product.quota.values, seed)
    if len(drawn) < 2:
        names = ", ".join(given.legend.names[code] for code in drawn) or "no class"
        raise InputError(
            f"{product_of(given.config).crosswalk}: the quotas leave samples of {names}, of two classes at least; "
            "raise the quotas, or choose a larger area"
        )
    height, width = product.shape
    check_split(
        (height, width), train=own.train, validation=own.validation, split=own.split, block=own.block, seed=seed
    )


def _shares(product: xr.DataArray) -> dict[int, float]:
    codes, counts = np.unique(product.values, return_counts=True)
    return {int(code): float(n) / product.size for code, n in zip(codes, counts, strict=True)}


def _admitted_classes(label: npt.NDArray[np.uint8], quota: npt.NDArray[np.uint8], seed: int) -> set[int]:
    """Classes of which the quotas admit a pixel; not all, once there are two."""
    found: set[int] = set()
    width = label.shape[1]
    for top in range(0, len(label), _STRIP):
        codes, percent = label[top : top + _STRIP], quota[top : top + _STRIP]
        ids = np.uint64(top * width) + np.arange(codes.size, dtype=np.uint64).reshape(codes.shape)
        found |= set(np.unique(codes[admitted(ids, percent, seed) & (codes > 0)]).tolist())
        if len(found) > 1:
            break
    return found


def check_source(given: Given) -> None:
    """Check the inputs of the cube.

    Raises
    ------
    InputError
        If the patch is neither a multiple of the step of patches nor as large as the grid.
    """
    grid, patch = given.catalogue.grid, given.config.execution.patch
    if patch % PATCH_STEP and patch < max(grid.shape):
        raise InputError(f"execution.patch = {patch} is not a multiple of {PATCH_STEP}; choose one, e.g. {CHUNK * 10}")


def check_output(config: Config) -> None:
    """Refuse an output that is a file, lies in the source's folder, or contains files that no run wrote.

    Raises
    ------
    InputError
        If the output is a file, lies in the folder of the source, or contains files that no run wrote.
    """
    output, folder = config.output, config.source.get("folder")
    above = next(place for place in output.parents if place.exists())
    if not above.is_dir():
        raise InputError(f"output = {output} lies below the file {above}; give a folder")
    if output.exists() and not output.is_dir():
        raise InputError(f"output = {output} is a file; give a folder")
    if isinstance(folder, str) and Path(folder).resolve() in (output.resolve(), *output.resolve().parents):
        raise InputError(f"output = {output} lies in source.folder; choose a folder outside of it")
    theirs = [name for name in ("report.html", "evaluation") if (output / name).exists()]
    if theirs and not RunFolder(output).begun:
        raise InputError(f"output = {output} contains {theirs[0]}, which no run wrote; choose another folder")


def check_leave_out(places: Mapping[str, Given]) -> None:
    """Refuse entries of ``acquisitions.leave_out`` that name nothing in any place."""
    known = list(dict.fromkeys(name for given in places.values() for name in given.catalogue.names))
    for given in places.values():
        check_names(given.config.acquisitions.leave_out, known)


def check_enough(given: Given) -> None:
    """Refuse years that have too few acquisitions even without clouds.

    Raises
    ------
    InputError
        If a year has too few acquisitions.
    """
    config, catalogue = given.config, given.catalogue
    wanted, by_hand = config.acquisitions.size, set(config.acquisitions.leave_out)
    start = config.acquisitions.year_start
    counts = Counter(year_of(a.time, start) for a in catalogue.acquisitions if by_hand.isdisjoint(a.names))
    why = f" ({counted(catalogue.left_out)})" if catalogue.left_out else ""
    for year in config.acquisitions.years or sorted(counts):
        if counts[year] < wanted:
            lower = f"lower it to {counts[year]}, or " if counts[year] > 1 else ""
            name = year_label(year, start)
            raise InputError(
                f"{name} has {counts[year]} acquisitions{why}, but acquisitions.per_year = {wanted}; {lower}leave the "
                "year out of acquisitions.years, or add acquisitions to the source"
            )


def source_of(config: Config) -> Source:
    """Source of acquisitions that the configuration describes."""
    source: Source = of_kind(SOURCES, config.source, "source")
    return source


def given_source(config: Config) -> Input:
    """Source as an input of the run, identified by its settings and by the sizes and times of its files."""
    source = source_of(config)
    files = [Path(f) for f in source.files()]
    place = config.source.get("folder") or config.source.get("catalogue") or ""
    root = Path(place) if "://" not in place else Path()
    identity = {"settings": source.provenance(), "files": files_fingerprint(files, root)}
    return Input("source", sha256(canonical(identity)), source)


def product_of(config: Config) -> Product:
    """Old map that the configuration names.

    Raises
    ------
    InputError
        If the configuration has no section `product`.
    """
    if config.product is None:
        raise InputError("'product' is missing; add [product] with its path (only mlc-dask cube works without it)")
    return config.product


def legend_for(config: Config) -> Legend:
    """Legend of the maps."""
    product = product_of(config)
    return Legend.from_csv(product.legend) if product.legend else legend_of_crosswalk(product.crosswalk)


def sensor_for(config: Config) -> Sensor:
    """Sensor that the bands belong to.

    Raises
    ------
    InputError
        If the sensor is unknown.
    """
    if config.sensor not in SENSORS:
        raise InputError(f"sensor = {config.sensor!r} is unknown; {did_you_mean(config.sensor, SENSORS)}")
    return SENSORS[config.sensor]


def truth_files(config: Config) -> References:
    """Return the reference files by year; years without a file are left out."""
    pattern, years = config.evaluation.truth or "", config.acquisitions.years or range(1980, 2100)
    found = ((year, Path(pattern.replace("{year}", str(year)))) for year in years if pattern)
    return References({year: path for year, path in found if path.is_file()})


def given_product(config: Config) -> Input:
    """Return the old map's file as an input of the run."""
    path = existing(product_of(config).path, "set product.path to the file of the old land-cover map")
    return Input("product-file", files_fingerprint([path], path.parent), path)


def given_truth(config: Config) -> Input:
    """Return the reference files as an input of the run; the input may be empty.

    Raises
    ------
    InputError
        If no mapped year has a reference file.
    """
    files = truth_files(config)
    if config.evaluation.truth and not files:
        raise InputError(
            f"no mapped year has a file evaluation.truth = {config.evaluation.truth!r}; correct the pattern"
        )
    root = Path(config.evaluation.truth).parent if config.evaluation.truth else Path()
    return Input("truth", files_fingerprint(files.values(), root), files)
