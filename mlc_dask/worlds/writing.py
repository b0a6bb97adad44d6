"""Writing a world: acquisitions in a product format, a 100 m land-cover product, and truth maps."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path

from mlc_dask.data.errors import InputError
from mlc_dask.worlds.formats import FORMATS
from mlc_dask.worlds.formats.rasters import write_geotiff
from mlc_dask.worlds.formats.stac import write_catalogue
from mlc_dask.worlds.landscape import Landscape, make_landscape
from mlc_dask.worlds.product import CELL, corine
from mlc_dask.worlds.scenes import Scene, scenes
from mlc_dask.worlds.settings import World
from mlc_dask.worlds.spectra import Ground

_WITHOUT_OFFSET = "02.14"
_COLLECTION_1 = "05.10"


def write_world(folder: str | Path, world: World) -> None:
    """Write a world; the same settings give the same bytes.

    It writes below `folder`: ``acquisitions/<time>_<platform>_<orbit>_<tile>/<band>.tif`` and ``SCL.tif`` (uint16 DN of
    reflectance * 10000, 0 no data), ``product/corine.tif`` (100 m, CORINE grid codes), ``truth/<year>.tif`` (10 m,
    legend codes), ``world.json`` (settings and the list of true changes).
    """
    write_products(folder, world, format="geotiff", baseline=lambda _: _WITHOUT_OFFSET)


def write_products(
    folder: str | Path,
    world: World,
    *,
    format: str,  # noqa: A002, the field's word
    baseline: Callable[[Scene], str] = lambda _: _COLLECTION_1,
    **options: object,
) -> None:
    """Write a world like :func:`write_world`, with its acquisitions in a product format.

    Parameters
    ----------
    folder
        Folder for ``acquisitions/``, ``product/``, ``truth/`` and ``world.json``.
    world
        Settings.
    format
        One of :data:`~mlc_dask.worlds.formats.FORMATS`; for ``stac``, a catalogue is written as well.
    baseline
        Function from a scene to its processing baseline.
    options
        Passed to the ``write`` of the format.

    Raises
    ------
    InputError
        If the format is unknown.
    """
    if format not in FORMATS:
        raise InputError(f"format = {format!r} is unknown; choose one of {', '.join(FORMATS)}")
    folder, landscape = Path(folder), make_landscape(world)
    acquisitions = folder / "acquisitions"
    written = [
        FORMATS[format](acquisitions, scene, baseline=baseline(scene), **options)
        for scene in _all_scenes(world, landscape)
    ]
    if format == "stac":
        write_catalogue(acquisitions, written)
    _write_maps(folder, world, landscape)


def _all_scenes(world: World, landscape: Landscape) -> Iterator[Scene]:
    ground = Ground(world, landscape)
    for position in range(len(world.years)):
        yield from scenes(world, position, ground)


def _write_maps(folder: Path, world: World, landscape: Landscape) -> None:
    for position, year in enumerate(world.years):
        write_geotiff(folder / "truth" / f"{year}.tif", landscape.truth(position), 10)
    write_geotiff(folder / "product" / "corine.tif", corine(world, landscape), 10 * CELL)
    facts = {"settings": asdict(world), "changes": [asdict(change) for change in landscape.changes]}
    (folder / "world.json").write_text(json.dumps(facts, indent=1), encoding="utf-8")
