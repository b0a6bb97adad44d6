"""What a run is given: the configuration as sources, files and settings, checked before any work starts."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import xarray as xr

from mlc_dask.acquisitions import Source
from mlc_dask.config import Config, validated
from mlc_dask.errors import InputError
from mlc_dask.files import canonical, files_fingerprint, sha256
from mlc_dask.io.cubes import CHUNK
from mlc_dask.io.products import open_product, open_reference, read_crosswalk
from mlc_dask.io.sources import SOURCES
from mlc_dask.kernels.pairing import PairingRules
from mlc_dask.legend import DEFAULT_LEGEND, Crosswalk, Legend
from mlc_dask.run import Source as Given
from mlc_dask.sensors import SENSORS, Sensor
from mlc_dask.stages.annual_training import Clustering


def check_inputs(config: Config) -> None:
    """Look at every file's header, the product's codes and the reference before any work starts.

    Raises
    ------
    InputError
        With the first fault: the file, band or value, and the fix.
    """
    source, legend = source_of(config), legend_for(config)
    grid = source.grid()
    patch = config.execution.patch
    if patch % CHUNK and patch < max(grid.shape):
        raise InputError(f"execution.patch = {patch} is not a multiple of {CHUNK}; choose one, e.g. {CHUNK * 20}")
    years = config.acquisitions.years
    for acquisition in source.acquisitions():
        if years is None or acquisition.time.year in years:
            source.check(acquisition, grid)
    like = xr.Dataset(coords=grid.coords())
    product = open_product(config.product.path, like=like, crosswalk=crosswalk_for(config, legend), legend=legend)
    present = np.unique(product.values[product.values != 0])
    if len(present) < 2:
        only = legend.names[int(present[0])]
        raise InputError(f"{config.product.path}: the area has a single class, {only}; choose a larger area")
    for path in given_truth(config).value.values():
        open_reference(path, like=like, legend=legend)


def source_of(config: Config) -> Source:
    """Source of acquisitions that the configuration describes."""
    settings = dict(config.source)
    kind = settings.pop("kind", None)
    if kind not in SOURCES:
        raise InputError(f"source.kind = {kind!r} is unknown; use {', '.join(SOURCES)}")
    source: Source = validated(SOURCES[kind], settings, "source")
    return source


def given_source(config: Config) -> Given:
    """Source as an input of the run, known by its settings and by its files' sizes and times."""
    source = source_of(config)
    files = [Path(f) for f in source.files()]
    root = Path(config.source["folder"])
    identity = {"settings": source.provenance(), "files": files_fingerprint(files, root)}
    return Given("source", sha256(canonical(identity)), source)


def legend_for(config: Config) -> Legend:
    """Legend of the maps."""
    return Legend.from_csv(config.product.legend) if config.product.legend else DEFAULT_LEGEND


def crosswalk_for(config: Config, legend: Legend) -> Crosswalk:
    """Crosswalk from the product's codes to the legend."""
    return read_crosswalk(config.product.crosswalk, legend)


def pairing_rules(config: Config) -> PairingRules:
    """Rules by which acquisitions are paired."""
    own = config.acquisitions
    return PairingRules(
        size=own.per_year, max_days_apart=own.max_days_apart, max_cloud=own.max_cloud, min_valid_area=own.min_valid_area
    )


def sensor_for(config: Config) -> Sensor:
    """Sensor that the bands belong to."""
    if config.sensor not in SENSORS:
        raise InputError(f"sensor = {config.sensor!r} is unknown; use {', '.join(SENSORS)}")
    return SENSORS[config.sensor]


def clustering_for(config: Config) -> Clustering:
    """How the old map's labels are cleaned."""
    own = config.annual_training
    return Clustering(own.cluster_pixels, own.max_clusters, own.min_silhouette, own.min_share)


def truth_files(config: Config, years: list[int]) -> dict[int, Path]:
    """Return the reference file of every year that has one."""
    pattern = config.evaluation.truth
    return {y: p for y in years if pattern and (p := Path(pattern.format(year=y))).is_file()}


def given_product(config: Config) -> Given:
    """Return the old map's file as an input of the run."""
    path = config.product.path
    if not path.is_file():
        raise InputError(f"{path} does not exist; set product.path to the old land-cover map")
    return Given("product-file", files_fingerprint([path], path.parent), path)


def given_truth(config: Config) -> Given:
    """Return the reference files as an input of the run; there may be none."""
    years = range(1980, 2100)
    files = truth_files(config, list(years))
    if config.evaluation.truth and not files:
        raise InputError(f"no file matches evaluation.truth = {config.evaluation.truth!r}; use {{year}} in its name")
    root = Path(config.evaluation.truth).parent if config.evaluation.truth else Path()
    return Given("truth", files_fingerprint(files.values(), root), files)
