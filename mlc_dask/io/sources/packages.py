"""Products as agencies distribute them: found in folders and archives, read safely, checked against their metadata."""

from __future__ import annotations

import os
import re
import stat
import zipfile
import zlib
from abc import abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import Any, ClassVar
from xml.etree.ElementTree import Element, ParseError

from affine import Affine
from defusedxml.common import DefusedXmlException
from defusedxml.ElementTree import fromstring

from mlc_dask.data.acquisitions import Acquisition, Catalogue, Granule, LeftOut, sifted
from mlc_dask.data.errors import InputError
from mlc_dask.data.grids import Grid
from mlc_dask.data.years import CALENDAR, Years
from mlc_dask.io.rasters import check_whole, open_raster
from mlc_dask.io.sources.area import AreaSource
from mlc_dask.io.sources.granules import required, understood

FIX = "download the product again"
_METADATA = re.compile(r"MTD_\w+\.xml$")
_UNREADABLE = (
    ParseError, DefusedXmlException, zipfile.BadZipFile, zlib.error, OSError, RuntimeError, EOFError, KeyError,
)  # fmt: skip
# Sizes in bytes far above those of a band or its metadata, and a ratio far above deflate's for JPEG 2000 or XML.
_LARGEST, _LARGEST_XML, _SMALL, _DENSEST = 2**30, 2**26, 2**20, 200


@dataclass(frozen=True)
class Product:
    """A product in a folder, or at `root` in an archive: its `files`, and their `prefix` in the href of an asset."""

    name: str
    place: Path
    root: str
    prefix: str
    files: tuple[str, ...]

    @property
    def metadata(self) -> tuple[Path, ...]:
        """Local files whose change may change the product's metadata."""
        if not self.place.is_dir():
            return (self.place,)
        return tuple(self.place / f for f in self.files if _METADATA.search(f))

    def xml(self, file: str) -> Element:
        """Parse a document of the product; a document that is not XML, or that defines entities, is bad input.

        Raises
        ------
        InputError
            If the document is missing, is not XML, or defines entities.
        """
        try:
            folder = self.place if self.place.is_dir() else zipfile.Path(self.place, self.root)
            if not (folder / file).is_file():
                raise InputError(f"{self.place}: {file} is missing; {FIX}")
            root: Element = fromstring((folder / file).read_bytes(), forbid_dtd=True)
        except _UNREADABLE as error:
            raise InputError(f"{self.place}: {file} cannot be read as XML ({error!r}); {FIX}") from None
        return root


class ProductSource(AreaSource):
    """A source of products.

    Parameters
    ----------
    folder
        Folder that holds the products, as folders or in zip archives, at any depth.
    """

    folder: Path
    _name: ClassVar[re.Pattern[str]]
    _dated: ClassVar[re.Pattern[str]]
    """Finds the groups `time` (YYYYMMDD) and `tile` in the names of products that state them."""
    _bulky: ClassVar[bool] = False  # rasters are uncompressed, so archives shrink them as much as a zip bomb

    def catalogue(self, years: Sequence[int] | None = None, year_start: str = CALENDAR) -> Catalogue:
        """Acquisitions of the area and the years, from the products' metadata."""
        wanted = Years.of(years, year_start)
        here, broken = self._products(wanted)
        found, left_out = sifted(here, lambda p: p.name, self._understood)
        return self._catalogue([g for p in found for g in p], wanted, str(self.folder), broken + left_out)

    def _named_elsewhere(self, name: str, years: Years) -> bool:
        """Whether the name of a product, or of its archive, says that it is of another tile or year."""
        stated = self._dated.search(name)
        return stated is not None and self._elsewhere(
            stated["tile"], datetime.strptime(stated["time"], "%Y%m%d"), years
        )

    def locate(self, href: str) -> str:
        """Path of an asset: `href` is relative to the folder, since the folder may move; braces enclose an archive."""
        return f"/vsizip/{{{self.folder}/{href[1:]}" if href.startswith("{") else str(self.folder / href)

    def provenance(self) -> dict[str, Any]:
        """Every setting except the path of the folder."""
        return self.model_dump(mode="json", exclude={"folder"})

    def files(self) -> list[str]:
        """Return archives, and the metadata and rasters of products in folders; not those of other tiles."""
        folders, archives = self._packages(Years())
        known, _ = sifted(folders, lambda p: p.name, self._understood)
        found = {str(f) for product in folders for f in product.metadata} | set(map(str, archives))
        found |= {self.locate(a.href) for own in known for g in own for a in g.assets.values()}
        return sorted(f for f in found if Path(f).is_file())

    def check(self, acquisition: Acquisition, grid: Grid) -> None:
        """Raise :class:`InputError` when a raster is missing, empty, or not on the grid that the metadata names."""
        for granule in acquisition.granules:
            for name, path in ((n, self.locate(a.href)) for n, a in granule.assets.items()):
                if not path.startswith("/vsizip/") and not (Path(path).is_file() and Path(path).stat().st_size):
                    raise InputError(f"{path} is missing or empty; {FIX}, or leave {name} out of the settings")
                with open_raster(path) as file:
                    own = Grid.of(file)
                    check_whole(file)
                    self._look(file, granule, name)
                if granule.grid is not None and not granule.grid.at_pixel(own.pixel).matches(own):
                    raise InputError(f"{path} is {own.label}, but its product is {granule.grid.label}; {FIX}")

    def _understood(self, product: Product) -> tuple[Granule, ...]:
        """Granules of one product; its metadata is parsed again only after it changed."""
        stats = [path.stat() for path in product.metadata]
        return _parsed(self, product, tuple((s.st_size, s.st_mtime_ns) for s in stats))

    @abstractmethod
    def _granules(self, product: Product) -> list[Granule]:
        """Granules of one product."""

    def _products(self, years: Years) -> tuple[list[Product], list[LeftOut]]:
        """Products that may be of the tile and the years, and the archives that cannot be read."""
        folders, archives = self._packages(years)
        archived, broken = sifted(archives, lambda path: path.name, lambda path: list(self._archived(path)))
        inside = [p for own in archived for p in own if not self._named_elsewhere(p.name, years)]
        return folders + inside, broken

    def _packages(self, years: Years) -> tuple[list[Product], list[Path]]:
        """Products in folders, and archives, without those whose names say that they are of another tile or year."""
        products: list[Product] = []
        archives: list[Path] = []
        for place, folders, files in os.walk(required(self.folder, "source.folder"), onerror=_tell, followlinks=True):
            for name in sorted(filter(self._name.fullmatch, folders)):
                folders.remove(name)
                if self._named_elsewhere(name, years):
                    continue
                path = Path(place, name)
                inside = sorted(f.relative_to(path).as_posix() for f in path.rglob("*") if f.is_file())
                prefix = f"{path.relative_to(self.folder).as_posix()}/"
                products.append(Product(name, path, "", prefix, tuple(inside)))
            archives += [Path(place, name) for name in sorted(f for f in files if f.lower().endswith(".zip"))]
        return products, [path for path in archives if not self._named_elsewhere(path.name, years)]

    def _archived(self, path: Path) -> Iterator[Product]:
        try:
            with zipfile.ZipFile(path) as archive:
                members = archive.infolist()
        except (zipfile.BadZipFile, OSError) as error:
            raise InputError(f"{path} is not a complete zip archive ({error}); {FIX}") from None
        inside: dict[str, list[str]] = {}
        for member in members:
            *folders, file = member.filename.split("/")
            at = next((i for i, folder in enumerate(folders, 1) if self._name.fullmatch(folder)), None)
            if at is not None and file:
                root, rest = ("/".join(folders[part]) for part in (slice(at), slice(at, None)))
                inside.setdefault(f"{root}/", []).append(f"{rest}/{file}" if rest else file)
        for root, files in sorted(inside.items()):
            self._refuse(path, members)
            prefix = f"{{{path.relative_to(self.folder).as_posix()}}}/{root.removeprefix('./')}"
            yield Product(PurePosixPath(root).name, path, root, prefix, tuple(sorted(files)))

    def _refuse(self, path: Path, members: Sequence[zipfile.ZipInfo]) -> None:
        for m in members:
            dense = not self._bulky and m.file_size > max(_SMALL, _DENSEST * m.compress_size)
            large = m.file_size > (_LARGEST_XML if m.filename.endswith(".xml") else _LARGEST)
            outside = m.filename.startswith(("/", "\\")) or ".." in re.split(r"[/\\]", m.filename)
            if dense or large or outside or stat.S_ISLNK(m.external_attr >> 16):
                raise InputError(f"{path}: unexpected archive member {m.filename!r}; {FIX} from its publisher")


@lru_cache(maxsize=4096)
def _parsed(source: ProductSource, product: Product, state: tuple[tuple[int, int], ...]) -> tuple[Granule, ...]:
    """Granules of a product; `state`, the sizes and times of its metadata files, is part of the cache key."""
    with understood(f"{product.place}: its metadata is incomplete", FIX):
        return tuple(source._granules(product))


def _tell(error: OSError) -> None:
    """Refuse a folder that `os.walk` would skip silently."""
    raise InputError(f"{error.filename} cannot be read ({error.strerror}); grant access to it, or move it away")


def told(root: Element, tag: str) -> str:
    """Text of an element that the metadata must have."""
    text = root.findtext(f".//{tag}")
    if not text:
        raise KeyError(tag)
    return text.strip()


def share(roots: Sequence[Element], *tags: str) -> float | None:
    """Share 0..1 from the first percentage found in `roots`; None where there is no such element."""
    texts = (root.findtext(f".//{tag}") for root in roots for tag in tags)
    return next((float(t) / 100 for t in texts if t), None)


def grid_of(crs: str, places: Sequence[Element], name: str) -> Grid:
    """Grid from the elements that hold its size and its corner."""
    of = {e.tag: float(str(e.text)) for place in places for e in place}
    transform = Affine(of["XDIM"], 0, of["ULX"], 0, of["YDIM"], of["ULY"])
    return Grid.at(crs, transform, (int(of["NROWS"]), int(of["NCOLS"])), name)
