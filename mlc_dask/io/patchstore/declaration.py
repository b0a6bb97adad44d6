"""A layout as files: ``layout.json``, the arrays' metadata and the coordinates, written before any pixel."""

from __future__ import annotations

import json
import shutil
import uuid
from pathlib import Path
from typing import Any, Final

import numpy as np
import xarray as xr
import zarr
from zarr.codecs import BloscCodec, Crc32cCodec
from zarr.storage import LocalStore

from mlc_dask.data.schema import YEAR
from mlc_dask.io.patchstore.layout import ArrayLayout, Layout
from mlc_dask.storage.durable import atomic_write, canonical, entry, fsync, plain, sha256, walk

LAYOUT: Final = "layout.json"
GROUP: Final = "zarr.json"
_GRID_MAPPING: Final = "spatial_ref"
_TEXT = "OTU"


def read_declaration(folder: Path) -> dict[str, Any] | None:
    """Content of ``layout.json``; None where no store was declared."""
    try:
        found: dict[str, Any] = json.loads((folder / LAYOUT).read_bytes())
    except FileNotFoundError:
        return None
    return found


def declared_layout(stored: dict[str, Any]) -> Layout:
    """Layout without its coordinates, which stay in their arrays."""
    arrays = {
        name: ArrayLayout(
            dims=tuple(a["dims"]),
            shape=tuple(a["shape"]),
            dtype=a["dtype"],
            chunks=tuple(a["chunks"]),
            fill_value=a["fill_value"],
            attrs=a["attrs"],
        )
        for name, a in stored["arrays"].items()
    }
    return Layout(arrays, stored["patch"], attrs=stored["attrs"], by=tuple(stored["by"]))


def declaration(layout: Layout) -> dict[str, Any]:
    """JSON form of `layout`, with digests in place of the coordinates' values."""
    form: dict[str, Any] = plain({name: vars(a) for name, a in layout.arrays.items()})
    return {
        "format": 1,
        "patch": layout.patch,
        "by": layout.by,
        "arrays": form,
        "coords": {name: _digest(c) for name, c in layout.coords.items()},
        "coordinates": sorted(n for n, c in layout.coords.items() if c.dims != (n,)),
        "attrs": plain(layout.attrs),
    }


def difference(a: dict[str, Any], b: dict[str, Any]) -> str | None:
    """Name where two declarations differ in what they hold, or None; how it is cut into chunks does not count."""
    for part in ("arrays", "coords", "attrs"):
        for name in sorted({*a[part], *b[part]}):
            first, second = a[part].get(name), b[part].get(name)
            if part == "arrays" and first and second:
                first, second = first | {"chunks": ()}, second | {"chunks": ()}
            if first != second:
                return f"{part[:-1]} {name!r}"
    return None


def _digest(coordinate: xr.DataArray) -> str:
    values = coordinate.values
    if values.dtype.kind in _TEXT:
        form = canonical(values.astype(str).tolist())
    else:
        form = np.ascontiguousarray(values.astype("M8[ns]") if values.dtype.kind == "M" else values).tobytes()
    return sha256(canonical([coordinate.dims, values.shape]) + form)


def declare(folder: Path, layout: Layout, content: str | None = None) -> None:
    """Write metadata and coordinates into `folder`, touching no chunk of pixels, and ``layout.json`` last.

    It can be repeated: the next declaration repairs one that was interrupted, or damaged later. `content` identifies
    the values that will be written, where nothing else does.
    """
    draft = folder / f".declaring-{uuid.uuid4().hex}"
    draft.mkdir(parents=True)
    try:
        _write_coordinates(draft, layout)
        for name, array in layout.arrays.items():
            _write_metadata(draft / name, array, _GRID_MAPPING in layout.coords)
        made = walk([draft])
        files = {p.relative_to(draft).as_posix(): entry(p) for p in made}
        for path in made:
            fsync(path)
            target = folder / path.relative_to(draft)
            target.parent.mkdir(parents=True, exist_ok=True)
            path.replace(target)
            fsync(target.parent)
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    atomic_write(folder / LAYOUT, canonical({**declaration(layout), "content": content, "files": files}))


def _write_coordinates(draft: Path, layout: Layout) -> None:
    # Fixed-width text has no Zarr v3 specification, text of variable length has one.
    text = {n: c.astype(object) for n, c in layout.coords.items() if c.dtype.kind in _TEXT}
    # Chunked by year as the arrays are: Dask opens them all with the same blocks.
    encoding = {
        n: {"chunks": [1 if d == YEAR else c.sizes[d] for d in c.dims]} for n, c in layout.coords.items() if c.ndim
    }
    xr.Dataset(coords={**layout.coords, **text}).drop_attrs(deep=False).to_zarr(
        LocalStore(draft), mode="w", zarr_format=3, consolidated=False, encoding=encoding
    )
    # Without the group's own metadata no Zarr reader opens an unfinished store; `finish` adds it.
    (draft / GROUP).unlink()


def _write_metadata(path: Path, array: ArrayLayout, georeferenced: bool) -> None:
    zarr.create_array(
        LocalStore(path),
        shape=array.shape,
        chunks=array.chunks,
        dtype=array.dtype,
        fill_value=array.fill_value,
        # Bit flips are silent without the checksum.
        compressors=[BloscCodec(cname="lz4", clevel=5, shuffle="bitshuffle"), Crc32cCodec()],
        dimension_names=array.dims,
        attributes=plain(array.attrs) | ({"grid_mapping": _GRID_MAPPING} if georeferenced else {}),
    )


def group_metadata(folder: Path, stored: dict[str, Any]) -> bytes:
    """Metadata of the Zarr group with that of all its arrays inline, so that opening reads one file."""
    names = [*stored["arrays"], *stored["coords"]]
    members = {name: json.loads((folder / name / GROUP).read_bytes()) for name in names}
    coordinates = {"coordinates": " ".join(stored["coordinates"])} if stored["coordinates"] else {}
    group = {
        "zarr_format": 3,
        "node_type": "group",
        "attributes": {**stored["attrs"], **coordinates},
        "consolidated_metadata": {"kind": "inline", "must_understand": False, "metadata": members},
    }
    return json.dumps(group, indent=1).encode()
