"""Where acquisitions come from. A new source is one file with a :class:`Source` and one line of :data:`SOURCES`."""

from __future__ import annotations

from mlc_dask.acquisitions import Acquisition, Source, Weather
from mlc_dask.io.sources.geotiff import GeoTiff, Mask

SOURCES = {"geotiff": GeoTiff}

__all__ = ["SOURCES", "Acquisition", "GeoTiff", "Mask", "Source", "Weather"]
