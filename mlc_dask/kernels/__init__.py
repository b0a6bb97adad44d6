"""The numerics of the method: arrays in, arrays out, with no knowledge of Dask, files or coordinates."""
