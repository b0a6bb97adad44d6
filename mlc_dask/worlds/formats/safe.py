"""SAFE: the products that ESA distributes, as folders or as zip archives."""

from __future__ import annotations

import zipfile
from pathlib import Path
from tempfile import TemporaryDirectory

from mlc_dask.worlds.formats.products import TILE, Product, compact
from mlc_dask.worlds.formats.rasters import write_jp2
from mlc_dask.worlds.formats.safe_metadata import product_metadata, tile_metadata
from mlc_dask.worlds.formats.xml import write_xml
from mlc_dask.worlds.scenes import Scene, pixel_of

_NO_CLOCK = (1980, 1, 1, 0, 0, 0)
"""Time of every member of an archive, the earliest that the format supports."""


def write(folder: Path, scene: Scene, *, baseline: str = "05.10", zipped: bool = False) -> Path:
    """Write ``<name>.SAFE``, or ``<name>.SAFE.zip`` with this folder in it; return the path."""
    product = Product(scene, baseline)
    if not zipped:
        return _write_folder(folder, product)
    folder.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory() as temporary:
        return _pack(_write_folder(Path(temporary), product), folder)


def _write_folder(folder: Path, product: Product) -> Path:
    target = folder / f"{product.name}.SAFE"
    granule = Path("GRANULE") / f"L2A_T{TILE}_A{product.absolute_orbit:06d}_{compact(product.scene.strip)}"
    images = {band: _image(granule, product, band) for band in (*product.scene.dn, "SCL")}
    for band, image in images.items():
        values = product.scene.scl if band == "SCL" else product.dn(band)
        write_jp2(target / f"{image}.jp2", values, pixel_of(band))
    write_xml(target / "MTD_MSIL2A.xml", product_metadata(product, list(images.values())))
    write_xml(target / granule / "MTD_TL.xml", tile_metadata(product))
    return target


def _image(granule: Path, product: Product, band: str) -> str:
    """Path of an image relative to the product, without file ending, as in the metadata."""
    pixel = pixel_of(band)
    return (granule / "IMG_DATA" / f"R{pixel}m" / f"T{TILE}_{product.sensing}_{band}_{pixel}m").as_posix()


def _pack(source: Path, folder: Path) -> Path:
    """Store a folder uncompressed in an archive, since images are compressed already."""
    target = folder / f"{source.name}.zip"
    with zipfile.ZipFile(target, "w", zipfile.ZIP_STORED) as archive:
        for path in sorted(p for p in source.rglob("*") if p.is_file()):
            name = path.relative_to(source.parent).as_posix()
            archive.writestr(zipfile.ZipInfo(name, _NO_CLOCK), path.read_bytes())
    return target
