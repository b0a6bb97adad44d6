"""``maps.zarr``: all layers in one Zarr v3 group, at the resolutions of the GeoTIFFs and their overviews.

Level ``0`` has the full resolution. Attributes follow the GeoZarr conventions *multiscales*, *proj* and *spatial*
(v0.1) and CF (``grid_mapping``, ``flag_values``, ``flag_meanings``). The ``zarr.json`` of the group is written last, so
no Zarr reader opens an incomplete group.
"""

from __future__ import annotations

import shutil
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import rasterio
import xarray as xr
import zarr
from affine import Affine
from rasterio.crs import CRS
from rasterio.enums import WktVersion
from rasterio.windows import Window
from zarr.codecs import BloscCodec
from zarr.storage import LocalStore

from mlc_dask.data.grids import Grid
from mlc_dask.data.legend import Legend
from mlc_dask.data.schema import YEAR, YEAR_START, X, Y
from mlc_dask.data.years import CALENDAR
from mlc_dask.show.export.cogs import level_shapes
from mlc_dask.show.export.layers import Layer, Plane
from mlc_dask.storage.durable import atomic_write, canonical, fsync, sha256

NAME: Final = "maps.zarr"
_CHUNK: Final = 1024
_GROUP: Final = "zarr.json"
_CONVENTIONS: Final = {
    "multiscales": ("d35379db-88df-4056-af3a-620245f8e347", "Multiscale layout of zarr datasets"),
    "proj": (
        "f17cb550-5864-4468-aeb7-f3180cfb622f",
        "Coordinate reference system information for geospatial data",
    ),
    "spatial": ("689b58e2-cf7b-45e0-9fff-9cfc0883d6b4", "Spatial coordinate information"),
}


@dataclass(frozen=True)
class Pyramid:
    """The Zarr group of an exported folder: its layers, its grid at full resolution, and the meaning of its codes."""

    folder: Path
    layers: tuple[Layer, ...]
    grid: Grid
    legend: Legend

    @property
    def path(self) -> Path:
        """Path of the group."""
        return self.folder / NAME

    @property
    def look(self) -> str:
        """Digest of the names and colours in the metadata."""
        return sha256(canonical(self.legend))

    @property
    def shapes(self) -> list[tuple[int, int]]:
        """Height and width of every level."""
        return level_shapes(self.grid.shape)

    def declare(self, drafts: Path) -> bytes:
        """Write the metadata and coordinates of all levels, touching no pixels; return the group's own metadata.

        It can be repeated: existing files, complete or damaged, are replaced.
        """
        (self.path / _GROUP).unlink(missing_ok=True)
        draft = drafts / NAME
        shutil.rmtree(draft, ignore_errors=True)
        store = LocalStore(draft)
        years = sorted({year for layer in self.layers for year in layer.years})
        for level, shape in enumerate(self.shapes):
            self._write_coordinates(store, level, years)
            for layer in self.layers:
                _declare_layer(store, level, layer, shape)
        zarr.open_group(store, mode="a", zarr_format=3).update_attributes(self._attributes())
        with warnings.catch_warnings():
            # Consolidated metadata is not in the specification yet; other readers ignore it.
            warnings.filterwarnings("ignore", message="Consolidated metadata")
            zarr.consolidate_metadata(store)
        group = (draft / _GROUP).read_bytes()
        (draft / _GROUP).unlink()
        _move(draft, self.path)
        return group

    def publish(self, group: bytes) -> None:
        """Make the group readable, once it contains all maps."""
        atomic_write(self.path / _GROUP, group)

    def write(self, plane: Plane, cog: Path) -> None:
        """Copy a map and its overviews from its GeoTIFF, one row of chunks at a time."""
        for level, (height, width) in enumerate(self.shapes):
            array = zarr.open_array(LocalStore(self.path), path=f"{level}/{plane.layer.name}", mode="r+")
            overview = {"overview_level": level - 1} if level else {}
            with rasterio.open(cog, **overview) as source:
                assert source.shape == (height, width), (cog, level, source.shape)
                for top in range(0, height, _CHUNK):
                    rows = min(_CHUNK, height - top)
                    place: tuple[int | slice, ...] = (*self._place(plane), slice(top, top + rows))
                    array[place] = source.read(1, window=Window(0, top, width, rows))

    def files(self, plane: Plane) -> list[Path]:
        """Chunk files of a map."""
        place = [str(i) for i in self._place(plane)]
        found = (self.path.joinpath(str(n), plane.layer.name, "c", *place) for n in range(len(self.shapes)))
        return sorted(path for chunks in found for path in chunks.rglob("*") if path.is_file())

    def own_files(self) -> list[Path]:
        """Files of metadata and coordinates."""
        layers = {layer.name for layer in self.layers}
        found = (p for p in self.path.rglob("*") if p.is_file())
        return sorted(p for p in found if p.name == _GROUP or p.relative_to(self.path).parts[1] not in layers)

    def _place(self, plane: Plane) -> tuple[int, ...]:
        return () if plane.year is None else (plane.layer.years.index(plane.year),)

    def _transform(self, level: int) -> Affine:
        """Affine transform of a level, whose pixels cover the same ground as those of level 0."""
        (height, width), (rows, columns) = self.grid.shape, self.shapes[level]
        full = self.grid.transform
        return Affine(full.a * width / columns, 0.0, full.c, 0.0, full.e * height / rows, full.f)

    def _write_coordinates(self, store: LocalStore, level: int, years: Sequence[int]) -> None:
        (rows, columns), transform = self.shapes[level], self._transform(level)
        x = (X, transform.c + transform.a * (np.arange(columns) + 0.5), _axis("X", "x"))
        y = (Y, transform.f + transform.e * (np.arange(rows) + 0.5), _axis("Y", "y"))
        year = {YEAR: (YEAR, np.array(years, np.int64), self._year_attributes())} if years else {}
        coords = xr.Dataset(coords={**year, Y: y, X: x}).rio.write_crs(self.grid.crs).rio.write_transform(transform)
        coords.to_zarr(store, group=str(level), mode="w", zarr_format=3, consolidated=False)

    def _year_attributes(self) -> dict[str, str]:
        start = self.layers[0].year_start
        if start == CALENDAR:
            return {"long_name": "calendar year"}
        return {"long_name": f"year from {start}, named for the calendar year in which it ends", YEAR_START: start}

    def _attributes(self) -> dict[str, Any]:
        crs = CRS.from_wkt(self.grid.crs)
        authority = crs.to_authority()
        code = (
            {"proj:code": ":".join(authority)} if authority else {"proj:wkt2": crs.to_wkt(version=WktVersion.WKT2_2019)}
        )
        return {
            "zarr_conventions": [_convention(name) for name in _CONVENTIONS],
            "multiscales": {"layout": [self._level(n) for n in range(len(self.shapes))], "resampling_method": "mode"},
            **code,
            "spatial:dimensions": [Y, X],
            "spatial:bbox": list(self.grid.bounds),
            "Conventions": "CF-1.11",
            "legend": self.legend.to_dict(),
        }

    def _level(self, level: int) -> dict[str, Any]:
        shape = self.shapes[level]
        before = self.shapes[level - 1] if level else shape
        scale = [before[0] / shape[0], before[1] / shape[1]]
        return {
            "asset": str(level),
            **({"derived_from": str(level - 1)} if level else {}),
            "transform": {"scale": scale, "translation": [0.0, 0.0]},
            "spatial:shape": list(shape),
            "spatial:transform": list(self._transform(level)[:6]),
        }


def _declare_layer(store: LocalStore, level: int, layer: Layer, shape: tuple[int, int]) -> None:
    years = (len(layer.years),) if layer.years else ()
    zarr.create_array(
        store,
        name=f"{level}/{layer.name}",
        shape=(*years, *shape),
        chunks=(*(1 for _ in years), *(min(_CHUNK, n) for n in shape)),
        dtype="uint8",
        fill_value=layer.fill_value,
        compressors=[BloscCodec(cname="zstd", clevel=5, shuffle="bitshuffle")],
        dimension_names=(*(YEAR for _ in years), Y, X),
        attributes=_layer_attributes(layer),
    )


def _layer_attributes(layer: Layer) -> dict[str, Any]:
    flags = {
        "flag_values": [c.code for c in layer.classes],
        "flag_meanings": " ".join("_".join(c.name.lower().split()) for c in layer.classes),
        "flag_colors": " ".join(c.colour.lower() for c in layer.classes),
    }
    return {
        "long_name": layer.title,
        "grid_mapping": "spatial_ref",
        "resampling_method": layer.resampling,
        **(flags if layer.classes else {"units": layer.unit}),
    }


def _axis(axis: str, name: str) -> dict[str, str]:
    return {"axis": axis, "standard_name": f"projection_{name}_coordinate", "long_name": f"{name} of pixel centres"}


def _convention(name: str) -> dict[str, str]:
    identity, description = _CONVENTIONS[name]
    home = f"zarr-conventions/{name}"
    return {
        "uuid": identity,
        "name": name,
        "schema_url": f"https://raw.githubusercontent.com/{home}/refs/tags/v0.1/schema.json",
        "spec_url": f"https://github.com/{home}/blob/v0.1/README.md",
        "description": description,
    }


def _move(draft: Path, target: Path) -> None:
    """Move the files of `draft` to the same paths below `target`, and replace existing files."""
    for path in sorted(p for p in draft.rglob("*") if p.is_file()):
        place = target / path.relative_to(draft)
        place.parent.mkdir(parents=True, exist_ok=True)
        fsync(path)
        path.replace(place)
        fsync(place.parent)
    shutil.rmtree(draft)
