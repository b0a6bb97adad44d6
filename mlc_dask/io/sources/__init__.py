"""Sources of acquisitions. A new source is one module with a :class:`Source` and one line in :data:`SOURCES`."""

from __future__ import annotations

from mlc_dask.data.acquisitions import Acquisition, Source, Weather
from mlc_dask.io.sources.eopf import Eopf
from mlc_dask.io.sources.geotiff import GeoTiff
from mlc_dask.io.sources.granules import Mask
from mlc_dask.io.sources.safe import Safe
from mlc_dask.io.sources.stac import Stac
from mlc_dask.io.sources.theia import Theia

SOURCES = {"eopf": Eopf, "geotiff": GeoTiff, "safe": Safe, "stac": Stac, "theia": Theia}

__all__ = ["SOURCES", "Acquisition", "Eopf", "GeoTiff", "Mask", "Safe", "Source", "Stac", "Theia", "Weather"]
