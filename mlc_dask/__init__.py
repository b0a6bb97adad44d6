"""Consistent annual land-cover maps from Sentinel-2 time series, on Dask: the notebook API.

Every function takes and returns xarray objects and is lazy where the result is a raster. They run on the current Dask
scheduler: threads of this process, or the cluster of a ``distributed.Client``.

The names stand in ``__init__.pyi``. Each is imported when it is first used, so that ``import mlc_dask`` is quick.
"""

import sys
from threading import RLock

import lazy_loader
from wrapt import when_imported

_imported, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
_one_at_a_time = RLock()


def __getattr__(name: str) -> object:
    """Import a name on its first use, in one thread at a time: two that meet in a circle of imports fail."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    with _one_at_a_time:
        return _imported(name)


@when_imported("xarray")
def _add_accessor(_: object) -> None:
    """Give xarray objects ``data.mlc`` as soon as there is xarray, whichever of the two is imported first."""
    import mlc_dask.show.notebook.accessor  # noqa: F401


if "distributed" in sys.modules:
    # A worker, whose threads import the modules of tasks: all of them now, before there is a second thread to meet.
    for _name in __all__:
        __getattr__(_name)
