"""Where acquisitions come from. A new source is one file with a :class:`Source` and one line of :data:`SOURCES`."""

from __future__ import annotations

from mlc_dask.acquisitions import Acquisition, Source, Weather
from mlc_dask.io.sources.eopf import Eopf
from mlc_dask.io.sources.geotiff import GeoTiff
from mlc_dask.io.sources.granules import Mask
from mlc_dask.io.sources.stac import Stac

SOURCES = {"eopf": Eopf, "geotiff": GeoTiff, "stac": Stac}

__all__ = ["SOURCES", "Acquisition", "Eopf", "GeoTiff", "Mask", "Source", "Stac", "Weather"]
