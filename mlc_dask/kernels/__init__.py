"""The numerics of the method: arrays in, arrays out; kernels know nothing of Dask, files or coordinates."""
