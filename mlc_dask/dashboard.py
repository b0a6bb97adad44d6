"""Where ``dask scheduler --preload mlc_dask.dashboard`` finds the map of patches."""

from mlc_dask.compute.dashboard import dask_setup

__all__ = ["dask_setup"]
