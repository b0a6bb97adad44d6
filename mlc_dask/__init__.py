"""Consistent annual land-cover maps from Sentinel-2 time series, on Dask: the notebook API.

Every function takes and returns xarray objects and is lazy where the result is a raster. They run on the current Dask
scheduler: threads of this process, or the cluster of a ``distributed.Client``.

The names stand in ``__init__.pyi``. Each is imported when it is first used, so that ``import mlc_dask`` is quick.
"""

import lazy_loader
from wrapt import when_imported

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)


@when_imported("xarray")
def _add_accessor(_: object) -> None:
    """Give xarray objects ``data.mlc`` as soon as there is xarray, whichever of the two is imported first."""
    import mlc_dask.show.notebook.accessor  # noqa: F401
