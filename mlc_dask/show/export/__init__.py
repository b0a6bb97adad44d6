"""Maps as files for other software: cloud-optimised GeoTIFFs, a STAC catalogue and a multiscale Zarr group.

An exported folder can be moved and contains only complete files: each file appears when it is finished, the catalogue
last. A second export into the same folder repairs missing and damaged files, and writes those anew whose names or
colours have changed; a folder with other files is refused.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import rasterio
import xarray as xr

from mlc_dask.data.errors import InputError, naming
from mlc_dask.data.grids import Grid, north_up
from mlc_dask.data.schema import legend_of
from mlc_dask.io.published import made_by, open_maps, places_of
from mlc_dask.runs.folder import RunFolder
from mlc_dask.runs.records import Record as Origin
from mlc_dask.runs.records import read_record
from mlc_dask.show.export.catalogue import Place, write_stac
from mlc_dask.show.export.cogs import SUFFIXES, write_cog
from mlc_dask.show.export.layers import Layer, describe
from mlc_dask.show.export.pyramid import NAME, Pyramid
from mlc_dask.show.export.record import DRAFTS, Ledger
from mlc_dask.storage.durable import MANIFEST, OutputLock, sha256

__all__ = ["export_maps"]

_CACHE = 128
"""Megabytes of GDAL's block cache; GDAL's default is a twentieth of the machine's memory."""

Listener = Callable[[Path, bool], None]
"""Called with the GeoTIFF of a map when it is finished, and whether it was reused."""


@naming()
def export_maps(
    output: str | Path,
    folder: str | Path,
    *,
    layers: Sequence[str] | None = None,
    license: str = "other",  # noqa: A002  (STAC's word)
    listener: Listener | None = None,
) -> Path:
    """Write the maps of a finished run as files for other software.

    Parameters
    ----------
    output
        Output folder of a run, of one place or of several tiles, or a folder written by :func:`mlc_dask.write_maps`.
    folder
        Target: a new or empty folder, or an earlier export of the same maps. Every tile gets a folder of its own.
    layers
        Names of the layers, e.g. ``["multi_year_filtered"]``; all by default.
    license
        License of the maps for the catalogue: an identifier of SPDX such as ``CC-BY-4.0``, or ``other``.

    Returns
    -------
    The STAC file to open: the Collection of one place, or the Catalog of several places.

    Raises
    ------
    InputError
        No finished run, an unknown layer, maps without a CRS, or a folder with other files. It is raised before
        anything is written.
    """
    output, folder = Path(output), Path(folder)
    exports = [_Export(path, folder / tile, layers) for tile, path in places_of(output).items()]
    tiles = {export.folder.name: export.digest for export in exports if export.folder != folder}
    together = Ledger(folder, tiles) if tiles else None
    with OutputLock(folder), rasterio.Env(GDAL_CACHEMAX=_CACHE):
        if together is not None:
            together.write()
        places = [export.write(listener) for export in exports]
        return write_stac(folder, output.resolve().name, places, license)


class _Export:
    """The export of one place; nothing is written before :meth:`write`."""

    def __init__(self, output: Path, folder: Path, layers: Sequence[str] | None) -> None:
        self.folder = folder
        self.name = output.resolve().name
        self.maps: xr.Dataset = north_up(open_maps(output))
        if self.maps.rio.crs is None:
            raise InputError(
                f"the maps of {output} have no CRS; set one with .rio.write_crs('EPSG:…') and write the maps again"
            )
        self.grid = Grid.of_raster(self.maps)
        self.layers: tuple[Layer, ...] = describe(self.maps, layers, str(output))
        self.fingerprints, self.origins = _origins(output, [layer.name for layer in self.layers])
        self.record = Ledger(folder, self.fingerprints)

    @property
    def digest(self) -> str:
        """Digest that identifies all maps."""
        return sha256(json.dumps(self.fingerprints, sort_keys=True).encode())

    def write(self, listener: Listener | None) -> Place:
        """Write the missing files; returns the description of the complete folder."""
        pyramid = Pyramid(self.folder, self.layers, self.grid, legend_of(self.maps))
        planes = [plane for layer in self.layers for plane in layer.planes]
        missing = [plane for plane in planes if self.record.whole(plane.stem, plane.layer.look) is None]
        drafts = self.folder / DRAFTS
        drafts.mkdir(parents=True, exist_ok=True)
        group = pyramid.declare(drafts) if missing or self.record.whole(NAME, pyramid.look) is None else None
        for plane in planes:
            if plane in missing:
                counts = write_cog(plane, plane.of(self.maps), self.grid, self.folder, drafts)
                paths = [self.folder / f"{plane.stem}{suffix}" for suffix in SUFFIXES]
                pyramid.write(plane, paths[0])
                self.record.add(plane.stem, [*paths, *pyramid.files(plane)], counts, plane.layer.look)
            if listener is not None:
                listener(self.folder / f"{plane.stem}{SUFFIXES[0]}", plane not in missing)
        if group is not None:
            pyramid.publish(group)
            self.record.add(NAME, pyramid.own_files(), [], pyramid.look)
        shutil.rmtree(drafts)
        return Place(self.name, self.folder, self.layers, self.grid, self.record.parts, self.origins)


def _origins(output: Path, layers: Sequence[str]) -> tuple[dict[str, str], Mapping[str, Origin]]:
    """Fingerprint of every layer, and the record of the step behind it where a run made the maps."""
    if RunFolder(output).published:
        artifacts = {name: made for name, made in made_by(output).items() if name in layers}
        records = {name: found for name, made in artifacts.items() if (found := read_record(made.folder))}
        return {name: made.fingerprint for name, made in artifacts.items()}, records
    digest = str(json.loads((output / MANIFEST).read_bytes())["digest"])
    return dict.fromkeys(layers, digest), {}
