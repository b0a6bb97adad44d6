"""Product formats in which a scene can be written. A new format is a module with a ``write`` and a line here."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from mlc_dask.worlds.formats import eopf, geotiff, safe, stac, theia

FORMATS: Mapping[str, Callable[..., Path]] = {
    "geotiff": geotiff.write,
    "safe": safe.write,
    "stac": stac.write,
    "eopf": eopf.write,
    "theia": theia.write,
}

__all__ = ["FORMATS"]
